package build

import (
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/moby/buildkit/snapshot"
	"github.com/opencontainers/go-digest"
)

// layerSnapshots are containerd's snapshots as BuildKit names them. It has names
// of its own for the layers of images, as old versions of it took layers for what
// they were said to be. Nobody did here, so both are one: what is pulled is not
// unpacked again for builds, nor the other way round.
type layerSnapshots struct{ snapshots.Snapshotter }

// imageKey is what images call a snapshot: their layers' chain ID.
func imageKey(key string) string {
	if chain, ok := snapshot.ParseLayerSnapshotID(key); ok {
		return chain.String()
	}
	return key
}

// layerKey undoes imageKey.
func layerKey(key string) string {
	if chain, err := digest.Parse(key); err == nil {
		return snapshot.LayerSnapshotID(chain)
	}
	return key
}

func (s layerSnapshots) Stat(ctx context.Context, key string) (snapshots.Info, error) {
	info, err := s.Snapshotter.Stat(ctx, imageKey(key))
	info.Parent = layerKey(info.Parent) // it is compared
	return info, err
}

func (s layerSnapshots) Usage(ctx context.Context, key string) (snapshots.Usage, error) {
	return s.Snapshotter.Usage(ctx, imageKey(key))
}

func (s layerSnapshots) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	return s.Snapshotter.Mounts(ctx, imageKey(key))
}

func (s layerSnapshots) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.Snapshotter.Prepare(ctx, key, imageKey(parent), opts...)
}

func (s layerSnapshots) View(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	return s.Snapshotter.View(ctx, key, imageKey(parent), opts...)
}

func (s layerSnapshots) Commit(ctx context.Context, name, key string, opts ...snapshots.Opt) error {
	return s.Snapshotter.Commit(ctx, imageKey(name), key, opts...)
}

// layerLeases hold the same snapshots.
type layerLeases struct{ leases.Manager }

func (l layerLeases) AddResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	return l.Manager.AddResource(ctx, lease, imageResource(r))
}

func (l layerLeases) DeleteResource(ctx context.Context, lease leases.Lease, r leases.Resource) error {
	return l.Manager.DeleteResource(ctx, lease, imageResource(r))
}

func imageResource(r leases.Resource) leases.Resource {
	if strings.HasPrefix(r.Type, "snapshots/") {
		r.ID = imageKey(r.ID)
	}
	return r
}
