package containerd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
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
	children := images.SetChildrenLabels(store, childrenOf(store))
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

// annotationPredicate says what kind of statement a layer is. Source: buildkit,
// docs/attestations.
const annotationPredicate = "in-toto.io/predicate-type"

// Attestation is one in-toto statement about an image.
type Attestation struct {
	Descriptor    ocispec.Descriptor
	PredicateType string          // a URI
	Statement     json.RawMessage // nil unless asked for
}

// Attestations lists what is here of the statements about an image, for the
// platform that it is for.
func (r *Runtime) Attestations(ctx context.Context, img *Image, statements bool) (out []Attestation, err error) {
	ctx = r.with(ctx)
	store := r.client.ContentStore()
	list, err := r.manifests(ctx, store, img.Descriptor, 0)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", img.ID, err)
	}
	for _, d := range list {
		if !isAttestation(d) || digest.Digest(d.Annotations[annotationDescribe]) != img.descriptor.Digest {
			continue
		}
		if all, _, err := present(ctx, store, d); err != nil {
			return nil, err
		} else if !all {
			continue
		}
		layers, err := children(ctx, store, d)
		if err != nil {
			return nil, fmt.Errorf("attestation %s: %w", d.Digest, err)
		}
		for _, l := range layers {
			a := Attestation{Descriptor: l, PredicateType: l.Annotations[annotationPredicate]}
			if a.PredicateType == "" {
				continue // its configuration
			}
			if statements {
				if a.Statement, err = readStatement(ctx, store, l); err != nil {
					return nil, fmt.Errorf("attestation %s: %w", d.Digest, err)
				}
			}
			out = append(out, a)
		}
	}
	return out, nil
}

func readStatement(ctx context.Context, store content.Store, d ocispec.Descriptor) (json.RawMessage, error) {
	if d.Size > maxDocument {
		return nil, fmt.Errorf("statement %s has %d bytes: %w", d.Digest, d.Size, errdefs.ErrOutOfRange)
	}
	b, err := content.ReadBlob(ctx, store, d)
	if err == nil && !json.Valid(b) {
		err = fmt.Errorf("statement %s is not JSON: %w", d.Digest, errdefs.ErrDataLoss)
	}
	return b, err
}
