package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Variant is one manifest of an image: for a platform, or what was put beside one.
type Variant struct {
	Descriptor  ocispec.Descriptor
	ID          string // of the image for this platform, "" when it is not here
	Available   bool   // all of it is here
	Content     int64  // bytes of its blobs that are here
	Unpacked    int64  // bytes of its unpacked layers
	Attestation bool
	Describes   string // digest of the manifest that it is an attestation of
}

// Variants lists the manifests of an image, those that are not here included.
func (r *Runtime) Variants(ctx context.Context, img *Image) ([]Variant, error) {
	ctx = r.with(ctx)
	list, err := r.manifests(ctx, r.client.ContentStore(), img.Descriptor, 0)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", img.ID, err)
	}
	here := map[string]*Image{}
	for _, p := range img.Platforms {
		here[p.descriptor.Digest.String()] = p
	}
	out := make([]Variant, 0, len(list))
	for _, d := range list {
		v := Variant{Descriptor: d, Attestation: isAttestation(d), Describes: d.Annotations[annotationDescribe]}
		all, size, err := present(ctx, r.client.ContentStore(), d)
		if err != nil {
			return nil, err
		}
		v.Available, v.Content = all, size
		if p := here[d.Digest.String()]; p != nil {
			v.ID, v.Unpacked = p.ID, p.Unpacked
			if v.Descriptor.Platform == nil {
				is := p.Platform()
				v.Descriptor.Platform = &is
			}
		} else if !v.Attestation {
			v.Available = false // what is here of it is not kept
		}
		out = append(out, v)
	}
	return out, nil
}

// present tells whether a manifest and all that it names are here, and the
// bytes of what is.
func present(ctx context.Context, store content.Store, d ocispec.Descriptor) (all bool, size int64, err error) {
	if _, err := store.Info(ctx, d.Digest); errdefs.IsNotFound(err) {
		return false, 0, nil
	} else if err != nil {
		return false, 0, err
	}
	parts, err := children(ctx, store, d)
	if err != nil {
		return false, 0, err
	}
	all, size = true, d.Size
	for _, c := range parts {
		if info, err := store.Info(ctx, c.Digest); err == nil {
			size += info.Size
		} else if errdefs.IsNotFound(err) {
			all = false
		} else {
			return false, 0, err
		}
	}
	return all, size, nil
}

// ImageFor finds an image as it is for a platform, such as linux/arm64; without
// one, the image itself. ErrNotFound in Docker's words.
func (r *Runtime) ImageFor(ctx context.Context, ref, platform string) (*Image, error) {
	img, err := r.Image(ctx, ref)
	if err != nil || platform == "" {
		return img, err
	}
	asked, err := platforms.Parse(platform)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w: %w", platform, err, errdefs.ErrInvalidArgument)
	}
	if one := img.For(asked, false); one != nil {
		return one, nil
	}
	if len(img.Platforms) > 1 {
		return nil, fmt.Errorf("image with reference %s was found but does not provide the specified platform (%s): %w", ref, platforms.FormatAll(asked), errdefs.ErrNotFound)
	}
	return nil, fmt.Errorf("image with reference %s was found but its platform (%s) does not match the specified platform (%s): %w",
		ref, platforms.FormatAll(img.Platform()), platforms.FormatAll(asked), errdefs.ErrNotFound)
}
