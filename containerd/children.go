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

// maxLayers is how many an image may have: overlayfs takes no more of them.
const maxLayers = 500

// runnable refuses manifests of images of which no file system can be made. What
// is no image is told elsewhere.
func runnable(manifest ocispec.Descriptor, parts []ocispec.Descriptor) error {
	if !images.IsManifestType(manifest.MediaType) || len(parts) == 0 || !images.IsConfigType(parts[0].MediaType) {
		return nil
	}
	layers := parts[1:]
	if len(layers) > maxLayers {
		return fmt.Errorf("manifest %s has %d layers, %d are the most: %w", manifest.Digest, len(layers), maxLayers, errdefs.ErrInvalidArgument)
	}
	for _, l := range layers {
		if !unpacks(l.MediaType) && !images.IsAttestationType(l.MediaType) {
			return fmt.Errorf("manifest %s: layer %s is of the type %q, which is not supported: %w", manifest.Digest, l.Digest, l.MediaType, errdefs.ErrNotImplemented)
		}
	}
	return nil
}

// unpacks tells whether layers of a type can be unpacked.
func unpacks(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		ocispec.MediaTypeImageLayerNonDistributable, ocispec.MediaTypeImageLayerNonDistributableGzip, ocispec.MediaTypeImageLayerNonDistributableZstd, //nolint:staticcheck // older images have them
		images.MediaTypeDockerSchema2Layer, images.MediaTypeDockerSchema2LayerGzip, images.MediaTypeDockerSchema2LayerZstd,
		images.MediaTypeDockerSchema2LayerForeign, images.MediaTypeDockerSchema2LayerForeignGzip:
		return true
	}
	return false
}

// childrenOf is children as a handler.
func childrenOf(store content.Provider) images.HandlerFunc {
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		return children(ctx, store, desc)
	}
}
