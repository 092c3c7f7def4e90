package containerd

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// setName gives an image a name. The image that had it and has no other stays
// without one, as with Docker: its containers need it.
func (r *Runtime) setName(ctx context.Context, name string, target ocispec.Descriptor, platform string) error {
	r.naming.Lock()
	defer r.naming.Unlock()
	defer r.parsed.changed()
	store := r.client.ImageService()
	target.Annotations, target.Platform = nil, nil
	rec := images.Image{Name: name, Target: target}
	if platform != "" {
		rec.Labels = map[string]string{labelPlatform: platform}
	}
	old, err := store.Get(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		_, err = store.Create(ctx, rec)
	case err == nil:
		if old.Target.Digest != target.Digest {
			if err := r.keepUnnamed(ctx, old); err != nil {
				return err
			}
		}
		_, err = store.Update(ctx, rec)
	}
	if err != nil {
		return fmt.Errorf("naming image %q: %w", name, err)
	}
	if strings.HasPrefix(name, danglingPrefix) {
		return nil
	}
	if err := store.Delete(ctx, danglingPrefix+target.Digest.String()); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("naming image %q: %w", name, err)
	}
	return nil
}

// keepUnnamed keeps an image that is about to lose a name, if it is the last.
func (r *Runtime) keepUnnamed(ctx context.Context, rec images.Image) error {
	store := r.client.ImageService()
	same, err := store.List(ctx, "target.digest=="+rec.Target.Digest.String())
	if err != nil {
		return fmt.Errorf("names of image %q: %w", rec.Name, err)
	}
	if len(same) > 1 {
		return nil
	}
	kept := images.Image{Name: danglingPrefix + rec.Target.Digest.String(), Target: rec.Target, Labels: rec.Labels}
	if _, err := store.Create(ctx, kept); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keeping the image that was named %q: %w", rec.Name, err)
	}
	return nil
}

// Tag gives a present image a further name. ErrNotFound, ErrInvalidArgument.
func (r *Runtime) Tag(ctx context.Context, ref, name string) error {
	ctx = r.with(ctx)
	img, err := r.Image(ctx, ref)
	if err != nil {
		return err
	}
	if name, err = NormalizeReference(name); err != nil {
		return err
	}
	if strings.Contains(name, "@") {
		return fmt.Errorf("image name %q: a name with a digest cannot be given: %w", name, errdefs.ErrInvalidArgument)
	}
	return r.setName(ctx, name, img.target, img.asked)
}

// Removed is what Remove did: names taken away, and images that are gone.
type Removed struct {
	Untagged []string // complete references
	Deleted  []string // IDs
}

// Remove takes a name away from an image, or, for an ID, all its names; an
// image without a name is deleted, and its content leaves the disk before
// Remove returns. Whether containers use it is the caller's to check.
// ErrNotFound.
func (r *Runtime) Remove(ctx context.Context, ref string) (Removed, error) {
	ctx = r.with(ctx)
	img, err := r.Image(ctx, ref)
	if err != nil {
		return Removed{}, err
	}
	r.naming.Lock()
	defer r.naming.Unlock()
	defer r.parsed.removed()
	store := r.client.ImageService()
	records, err := store.List(ctx)
	if err != nil {
		return Removed{}, fmt.Errorf("names of image %q: %w", ref, err)
	}
	only, err := NormalizeReference(ref)
	if err != nil {
		only = ""
	}
	var mine []string
	isName := false
	for _, rec := range records {
		if parsed, err := r.parse(ctx, rec); err != nil || parsed.ID != img.ID {
			continue
		}
		mine = append(mine, rec.Name)
		isName = isName || rec.Name == only
	}
	var out Removed
	var last images.DeleteOpt
	for i, name := range mine {
		if isName && name != only {
			continue
		}
		opts := []images.DeleteOpt{}
		if len(mine) == 1 || !isName && i == len(mine)-1 {
			last = images.SynchronousDelete()
			opts = append(opts, last)
		}
		if err := store.Delete(ctx, name, opts...); err != nil && !errdefs.IsNotFound(err) {
			return out, fmt.Errorf("removing image %q: %w", name, err)
		}
		if !strings.HasPrefix(name, danglingPrefix) {
			out.Untagged = append(out.Untagged, name)
		}
	}
	if last != nil {
		out.Deleted = []string{img.ID}
	}
	return out, nil
}
