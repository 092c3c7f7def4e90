package containerd

import (
	"context"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
)

// ImageStore is the image store for those who name images themselves, as
// builds do: an image that loses its last name by it is kept without one.
func (r *Runtime) ImageStore() images.Store { return namer{r.client.ImageService(), r} }

type namer struct {
	images.Store
	r *Runtime
}

func (n namer) Create(ctx context.Context, img images.Image) (images.Image, error) {
	defer n.r.parsed.changed()
	got, err := n.Store.Create(n.r.with(ctx), img)
	if err != nil {
		return got, err
	}
	return got, n.named(ctx, img)
}

func (n namer) Update(ctx context.Context, img images.Image, fields ...string) (images.Image, error) {
	ctx = n.r.with(ctx)
	n.r.naming.Lock()
	defer n.r.naming.Unlock()
	defer n.r.parsed.changed()
	old, err := n.Store.Get(ctx, img.Name)
	if err != nil {
		return images.Image{}, err
	}
	if old.Target.Digest != img.Target.Digest {
		if err := n.r.keepUnnamed(ctx, old); err != nil {
			return images.Image{}, err
		}
	}
	got, err := n.Store.Update(ctx, img, fields...)
	if err != nil {
		return got, err
	}
	return got, n.named(ctx, img)
}

// named drops the record that kept an image while it had no name.
func (n namer) named(ctx context.Context, img images.Image) error {
	spare := danglingPrefix + img.Target.Digest.String()
	if img.Name == spare {
		return nil
	}
	if err := n.Store.Delete(n.r.with(ctx), spare); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

func (n namer) Delete(ctx context.Context, name string, opts ...images.DeleteOpt) error {
	defer n.r.parsed.removed()
	return n.Store.Delete(n.r.with(ctx), name, opts...)
}

func (n namer) Get(ctx context.Context, name string) (images.Image, error) {
	return n.Store.Get(n.r.with(ctx), name)
}

func (n namer) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return n.Store.List(n.r.with(ctx), filters...)
}
