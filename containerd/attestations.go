package containerd

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// attestations handles with get those of the platforms of an index that are
// here: an image for one platform is whole with them, and pushed as it came.
// That a registry lacks some is no error.
func (r *Runtime) attestations(ctx context.Context, store content.Store, target ocispec.Descriptor, get images.Handler) error {
	list, err := r.manifests(ctx, store, target, 0)
	if err != nil {
		return err
	}
	children := images.SetChildrenLabels(store, images.ChildrenHandler(store))
	for _, d := range list {
		if !isAttestation(d) {
			continue
		}
		described := false
		for _, m := range list {
			if m.Digest.String() == d.Annotations[annotationDescribe] {
				_, err := r.onePlatform(ctx, m, true)
				described = err == nil
			}
		}
		if !described {
			continue
		}
		if err := images.Dispatch(ctx, images.Handlers(get, children), nil, d); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("attestation %s: %w", d.Digest, err)
		}
	}
	return nil
}
