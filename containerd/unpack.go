package containerd

import (
	"context"
	"crypto/rand"
	"fmt"
	goruntime "runtime"
	"time"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/unpack"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
)

// Progress is how far a part of a long operation on an image is. Status is one
// of Docker's: "Downloading", "Extracting", "Pull complete", …
type Progress struct {
	ID             string // of a layer, short; the reference for the whole
	Status         string
	Current, Total int64 // bytes, Total 0 when unknown
}

// report tells progress; a nil one tells nobody.
type report func(Progress)

func (f report) tell(p Progress) {
	if f != nil {
		f(p)
	}
}

func layerID(d ocispec.Descriptor) string { return d.Digest.Encoded()[:12] }

// walk handles an image from its target down with get, which sees to it that
// a descriptor's content is here, and unpacks the layers.
func (r *Runtime) walk(ctx context.Context, target ocispec.Descriptor, platform platforms.MatchComparer, get images.Handler, tell report) error {
	return r.unpack(ctx, target, platform, get, applier{r.client.DiffService(), tell}, goruntime.GOMAXPROCS(0))
}

// unpack is walk with an applier, which is used for so many layers at a time.
func (r *Runtime) unpack(ctx context.Context, target ocispec.Descriptor, platform platforms.MatchComparer, get images.Handler, to diff.Applier, parallel int) error {
	store := r.client.ContentStore()
	children := images.SetChildrenLabels(store, func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		parts, err := children(ctx, store, desc)
		if err == nil {
			err = runnable(desc, parts)
		}
		return parts, err
	})
	children = images.LimitManifests(images.FilterPlatforms(children, platform), platform, 1)

	capabilities, err := r.client.GetSnapshotterCapabilities(ctx, r.snapshotter)
	if err != nil {
		return err
	}
	unpacker, err := unpack.NewUnpacker(ctx, store,
		unpack.WithLimiter(semaphore.NewWeighted(int64(r.cfg.Registries.downloads()))),
		unpack.WithUnpackLimiter(semaphore.NewWeighted(int64(parallel))),
		unpack.WithFetchAllContent(), // what is unpacked may lack its compressed form, which commit and save need
		unpack.WithUnpackPlatform(unpack.Platform{
			Platform:                platforms.All,
			SnapshotterKey:          r.snapshotter,
			Snapshotter:             r.snapshots(),
			SnapshotterCapabilities: capabilities,
			Applier:                 to,
			ApplyOpts:               []diff.ApplyOpt{diff.WithSyncFs(true)}, // a power cut must not leave a layer that is known and half there
		}))
	if err != nil {
		return err
	}
	err = images.Dispatch(ctx, unpacker.Unpack(images.Handlers(get, children)), nil, target)
	if _, unpackErr := unpacker.Wait(); err == nil {
		err = unpackErr
	}
	return err
}

// applier tells when a layer is being extracted.
type applier struct {
	diff.Applier
	tell report
}

func (a applier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	opts = append(opts, extracting(a.tell, desc, func() bool { return true }))
	out, err := a.Applier.Apply(ctx, desc, mounts, opts...)
	if err == nil {
		a.tell.tell(Progress{ID: layerID(desc), Status: "Pull complete", Current: desc.Size, Total: desc.Size})
	}
	return out, err
}

// extracting tells how far a layer is unpacked, while when says so.
func extracting(tell report, desc ocispec.Descriptor, when func() bool) diff.ApplyOpt {
	limit := newThrottle()
	return diff.WithProgress(func(_ ocispec.Descriptor, n int64) {
		if when() && limit.allows() {
			tell.tell(Progress{ID: layerID(desc), Status: "Extracting", Current: n, Total: desc.Size})
		}
	})
}

// throttle allows an event at once and then ten in a second.
type throttle struct{ next time.Time }

func newThrottle() *throttle { return &throttle{} }

func (t *throttle) allows() bool {
	now := time.Now()
	if now.Before(t.next) {
		return false
	}
	t.next = now.Add(100 * time.Millisecond)
	return true
}

// ensureUnpacked unpacks an image whose snapshots are gone or never were.
func (r *Runtime) ensureUnpacked(ctx context.Context, img *Image) error {
	if _, err := r.snapshots().Stat(ctx, img.ChainID); err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	ctx, done, err := r.lease(ctx, "")
	if err != nil {
		return err
	}
	defer done()
	here := images.HandlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { return nil, nil })
	if err := r.walk(ctx, img.descriptor, platforms.All, here, nil); err != nil {
		return fmt.Errorf("unpacking image %q: %w", img.ID, err)
	}
	r.parsed.changed() // its size is known now
	return nil
}

// leaseTime is how long what an interrupted operation has left is kept, so
// that it can be resumed.
const leaseTime = 24 * time.Hour

// workLease begins the names of leases that nobody goes on with: Sweep removes
// those of a killed process.
const workLease = "work-"

// lease protects what ctx creates until done is called. A lease with an ID is
// used again by the next operation of that ID if this one does not get to done.
func (r *Runtime) lease(ctx context.Context, id string) (_ context.Context, done func(), err error) {
	if id == "" {
		id = workLease + rand.Text()
	}
	l, err := r.client.LeasesService().Create(ctx, leases.WithExpiration(leaseTime), leases.WithID(id))
	if errdefs.IsAlreadyExists(err) {
		l, err = leases.Lease{ID: id}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("lease: %w", err)
	}
	done = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := r.client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			r.log.WithError(err).Warnf("lease %q stays until it expires", l.ID)
		}
	}
	return leases.WithLease(ctx, l.ID), done, nil
}
