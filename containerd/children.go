package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// isDocument tells whether something is read into memory as a whole.
func isDocument(d ocispec.Descriptor) bool {
	return images.IsConfigType(d.MediaType) || images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType)
}

// children are what a manifest or an index consists of. It refuses what cannot
// be; whoever made the image may have written anything, and containerd relies
// on digests that are some.
func children(ctx context.Context, store content.Provider, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	all, err := images.Children(ctx, store, desc)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if err := c.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("manifest %s is broken: digest %q: %w: %w", desc.Digest, c.Digest, err, errdefs.ErrInvalidArgument)
		}
		if c.Size < 0 || c.Size > maxDocument && isDocument(c) {
			return nil, fmt.Errorf("manifest %s is broken: %s has a size of %d: %w", desc.Digest, c.Digest, c.Size, errdefs.ErrInvalidArgument)
		}
	}
	return all, nil
}

// childrenOf is children as a handler.
func childrenOf(store content.Provider) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return children(ctx, store, desc)
	}
}
