package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// labelContainer marks the snapshots that are containers' roots.
const labelContainer = "gantry/container"

// Root is a container's writable file system before the container exists. It
// stays until CreateContainer uses it or Abort or Sweep removes it: like a
// lease, but without further writes, its snapshot is a root of the garbage
// collection itself.
type Root struct {
	ID    string
	Image *Image
	r     *Runtime
}

// PrepareRoot makes the file system of a container to be, from an image that
// is present. ErrNotFound without the image, ErrAlreadyExists when the
// container has one.
func (r *Runtime) PrepareRoot(ctx context.Context, id, image string) (*Root, error) {
	ctx = r.with(ctx)
	img, err := r.Image(ctx, image)
	if err != nil {
		return nil, err
	}
	if err := r.ensureUnpacked(ctx, img); err != nil {
		return nil, err
	}
	labels := snapshots.WithLabels(map[string]string{
		"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339),
		labelContainer:          id,
	})
	if _, err := r.snapshots().Prepare(ctx, id, img.ChainID, labels); err != nil {
		return nil, fmt.Errorf("file system of container %q from image %q: %w", id, image, err)
	}
	return &Root{ID: id, Image: img, r: r}, nil
}

// With mounts the file system for the time of f.
func (root *Root) With(ctx context.Context, f func(path string) error) error {
	return root.r.withMounted(root.r.with(ctx), root.ID, f)
}

// Abort removes the file system. It is no error if it is gone.
func (root *Root) Abort(ctx context.Context) error {
	return root.r.removeSnapshot(root.r.with(ctx), root.ID)
}

// MountRoot makes a container's file system available for the time of f: as
// the container sees it when it runs, else mounted for the moment.
func (r *Runtime) MountRoot(ctx context.Context, id string, f func(path string) error) error {
	if dir, err := r.bundle(id); err == nil {
		rootfs := filepath.Join(dir, "rootfs")
		if mounted, err := mountinfo.Mounted(rootfs); err == nil && mounted {
			return f(rootfs)
		}
	}
	return r.withMounted(r.with(ctx), id, f)
}

func (r *Runtime) withMounted(ctx context.Context, key string, f func(path string) error) (err error) {
	mounts, err := r.snapshots().Mounts(ctx, key)
	if err != nil {
		return fmt.Errorf("file system of container %q: %w", key, err)
	}
	dir, err := os.MkdirTemp(r.cfg.mounts(), "root-")
	if err != nil {
		return fmt.Errorf("file system of container %q: %w", key, err)
	}
	defer func() {
		if e := unmount(dir); e != nil {
			err = multierror.Append(err, e).ErrorOrNil()
		}
	}()
	if err := mount.All(mounts, dir); err != nil {
		return fmt.Errorf("mounting the file system of container %q: %w", key, err)
	}
	return f(dir)
}

func unmount(dir string) error {
	if err := mount.UnmountAll(dir, 0); err != nil {
		// Somebody still looks at it; it goes when they have finished.
		if err := mount.UnmountAll(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %q: %w", dir, err)
		}
	}
	return os.Remove(dir)
}

// unmountLeftovers clears what a killed process had mounted.
func (r *Runtime) unmountLeftovers() error {
	entries, err := os.ReadDir(r.cfg.mounts())
	if err != nil {
		return err
	}
	var errs *multierror.Error
	for _, e := range entries {
		errs = multierror.Append(errs, unmount(filepath.Join(r.cfg.mounts(), e.Name())))
	}
	return errs.ErrorOrNil()
}

// DiskUsage is how many bytes a container's own layer takes.
func (r *Runtime) DiskUsage(ctx context.Context, id string) (int64, error) {
	u, err := r.snapshots().Usage(r.with(ctx), id)
	if err != nil {
		return 0, fmt.Errorf("disk usage of container %q: %w", id, err)
	}
	return u.Size, nil
}

// Snapshots lists all snapshots, images' and containers', by key, sorted.
func (r *Runtime) Snapshots(ctx context.Context) ([]string, error) {
	return r.walkSnapshots(r.with(ctx))
}

func (r *Runtime) walkSnapshots(ctx context.Context, filters ...string) ([]string, error) {
	var keys []string
	err := r.snapshots().Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		keys = append(keys, info.Name)
		return nil
	}, filters...)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	slices.Sort(keys)
	return keys, nil
}

func (r *Runtime) removeSnapshot(ctx context.Context, key string) error {
	if err := r.snapshots().Remove(ctx, key); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		return fmt.Errorf("removing the file system of container %q: %w", key, err)
	}
	r.garbage.request()
	return nil
}
