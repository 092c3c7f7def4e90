package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"golang.org/x/sys/unix"
)

// labelAlias marks a snapshot without content: it is another name for its parent.
const labelAlias = "gantry/alias"

// UnpackBuilt makes the file system of an image that was built here, if it is
// for this host, so that its containers start at once. built are the snapshots
// that builds have left, by the chain ID of the layers that were made of them:
// nothing is copied.
//
//	base ◀─ what a step has written ◀─ alias, named by the chain ID ◀─ containers
//	           └ the build cache's           └ the image's
//
// The collector keeps a snapshot for what stands on it: cache and image go in
// any order, and the space with the last. An image that is not here is no error:
// it was not to be kept.
func (r *Runtime) UnpackBuilt(ctx context.Context, image string, built map[string]string) error {
	ctx = r.with(ctx)
	img, err := r.Image(ctx, image)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(img.DiffIDs) == 0 || !platforms.Default().Match(img.Platform()) {
		return nil
	}
	ctx, done, err := r.lease(ctx, "")
	if err != nil {
		return err
	}
	defer done()
	if err := r.holdSnapshot(ctx, img.ChainID); err != nil {
		return fmt.Errorf("image %q: %w", img.ID, err)
	}
	if key := built[img.ChainID]; key != "" {
		if err := r.alias(ctx, img, key); err != nil {
			return fmt.Errorf("file system of image %q: %w", img.ID, err)
		}
	}
	if err := r.ensureUnpacked(ctx, img); err != nil {
		return err
	}
	r.parsed.changed() // its size is known now
	return r.keepUnpacked(ctx, img)
}

// holdSnapshot has the lease of ctx keep a snapshot, which may be still to come.
func (r *Runtime) holdSnapshot(ctx context.Context, key string) error {
	id, _ := leases.FromContext(ctx)
	return r.client.LeasesService().AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: key, Type: "snapshots/" + r.snapshotter})
}

// alias makes a snapshot known by the name that an image has for it. It does
// nothing when there is one, when the snapshot is not there, and when it has not
// one part for each layer, which sizes are told by.
func (r *Runtime) alias(ctx context.Context, img *Image, key string) error {
	sn := r.snapshots()
	if _, err := sn.Stat(ctx, img.ChainID); err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	parts, err := r.layerParts(ctx, key)
	if errdefs.IsNotFound(err) || err == nil && len(parts) != len(img.DiffIDs) {
		return nil
	}
	if err != nil {
		return err
	}
	work, label := "alias-"+rand.Text(), snapshots.WithLabels(map[string]string{labelAlias: time.Now().UTC().Format(time.RFC3339)})
	mounts, err := sn.Prepare(ctx, work, key, label)
	if err != nil {
		return err
	}
	if err = syncDisk(mounts); err == nil { // a power cut must not leave a layer that is known and half there
		err = sn.Commit(ctx, img.ChainID, work, label)
	}
	if err != nil {
		if rerr := r.removeSnapshot(context.WithoutCancel(ctx), work); rerr != nil {
			r.log.WithError(rerr).Warnf("snapshot %q goes with its lease", work)
		}
	}
	if errdefs.IsAlreadyExists(err) { // another build was faster
		return nil
	}
	return err
}

// syncDisk waits until the disk has what was written to the file system that
// a snapshot is on.
func syncDisk(mounts []mount.Mount) error {
	dir := upperDir(mounts)
	if dir == "" && len(mounts) == 1 {
		dir = mounts[0].Source
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}

// keepUnpacked has an image keep its file system.
func (r *Runtime) keepUnpacked(ctx context.Context, img *Image) error {
	store, label := r.client.ContentStore(), "containerd.io/gc.ref.snapshot."+r.snapshotter
	info, err := store.Info(ctx, img.manifest.Config.Digest)
	if err != nil || info.Labels[label] == img.ChainID {
		return err
	}
	info = content.Info{Digest: info.Digest, Labels: map[string]string{label: img.ChainID}}
	_, err = store.Update(ctx, info, "labels."+label)
	return err
}

// layerParts are the snapshots that a snapshot is made of, the lowest first.
// ErrNotFound when it is not there.
func (r *Runtime) layerParts(ctx context.Context, key string) ([]Part, error) {
	var out []Part
	for key != "" {
		info, err := r.snapshots().Stat(ctx, key)
		if err != nil {
			return nil, err
		}
		if info.Labels[labelAlias] == "" {
			u, err := r.snapshots().Usage(ctx, key)
			if err != nil {
				return nil, err
			}
			out = append(out, Part{"layer " + key, u.Size})
		}
		key = info.Parent
	}
	slices.Reverse(out)
	return out, nil
}
