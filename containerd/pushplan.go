package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// pushPlan is what of an image is pushed.
type pushPlan struct {
	target ocispec.Descriptor
	// When target is one manifest of an index that is not whole here: the index,
	// and what of it is missing. A registry that has that gets the index.
	index   *ocispec.Descriptor
	missing []ocispec.Descriptor
}

func (r *Runtime) planPush(ctx context.Context, name, platform string) (p pushPlan, err error) {
	img, err := r.Image(ctx, name)
	if errdefs.IsNotFound(err) {
		return p, fmt.Errorf("An image does not exist locally with the tag: %s: %w", FamiliarName(name), errdefs.ErrNotFound)
	}
	if err != nil {
		return p, err
	}
	variants, err := r.Variants(ctx, img)
	if err != nil {
		return p, err
	}
	return choosePush(img, variants, FamiliarName(name), platform)
}

// choosePush is planPush for what is known. Of an index that is not whole here
// it is the one manifest that is, or the host's, as dockerd does.
func choosePush(img *Image, variants []Variant, name, platform string) (p pushPlan, err error) {
	if platform != "" {
		asked, err := platforms.Parse(platform)
		if err != nil {
			return p, fmt.Errorf("platform %q: %w: %w", platform, err, errdefs.ErrInvalidArgument)
		}
		one := img.For(asked, false)
		if one == nil {
			return p, fmt.Errorf("image with reference %s was found but does not provide the specified platform (%s): %w", name, platforms.FormatAll(asked), errdefs.ErrNotFound)
		}
		p.target = one.descriptor
		return p, nil
	}
	for _, v := range variants {
		if !v.Available {
			p.missing = append(p.missing, v.Descriptor)
		}
	}
	if len(p.missing) == 0 {
		p.target = img.Descriptor
		return p, nil
	}
	best := img
	if len(img.Platforms) > 0 {
		best = img.Platforms[0]
	}
	if len(img.Platforms) > 1 && !platforms.Default().Match(best.Platform()) {
		return p, fmt.Errorf("image %s is here for several platforms, but not all that it has: choose one with --platform, or pull the others: %w", name, errdefs.ErrConflict)
	}
	p.target, p.index = best.descriptor, &img.Descriptor
	return p, nil
}

// serves tells whether a registry has manifests in the repository of name.
func serves(ctx context.Context, resolver remotes.Resolver, name string, manifests []ocispec.Descriptor, atOnce int) bool {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, d := range manifests {
		group.Go(func() error {
			_, _, err := resolver.Resolve(ctx, named.Name()+"@"+d.Digest.String())
			return err
		})
	}
	return group.Wait() == nil
}
