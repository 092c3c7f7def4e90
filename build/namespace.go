package build

import (
	"context"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// differ puts containerd's namespace into contexts that have lost it: BuildKit
// relies on a client that adds it to what it sends, and calls in this process
// are not sent.
type differ struct {
	diff.Applier
	diff.Comparer
	namespace string
}

func (d differ) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	opts = append(opts, diff.WithSyncFs(true)) // a power cut must not leave a layer that is known and half there
	return d.Applier.Apply(namespaces.WithNamespace(ctx, d.namespace), desc, mounts, opts...)
}

func (d differ) Compare(ctx context.Context, lower, upper []mount.Mount, opts ...diff.Opt) (ocispec.Descriptor, error) {
	return d.Comparer.Compare(namespaces.WithNamespace(ctx, d.namespace), lower, upper, opts...)
}
