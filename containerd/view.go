package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
)

// labelView marks the snapshots by which containers see images that they mount,
// with the container's ID.
const labelView = "gantry/view"

func viewKey(id string, n int) string { return fmt.Sprintf("%s-view-%d", id, n) }

// MakeView keeps the file system of an image that is present for a container, by
// a number of the container's own, until DropViews. It may be repeated.
func (r *Runtime) MakeView(ctx context.Context, id string, n int, image string) error {
	ctx = r.with(ctx)
	img, err := r.Image(ctx, image)
	if err == nil {
		err = r.ensureUnpacked(ctx, img)
	}
	if err != nil {
		return err
	}
	labels := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339), labelView: id})
	if _, err := r.snapshots().View(ctx, viewKey(id, n), img.ChainID, labels); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("file system of image %q: %w", image, err)
	}
	return nil
}

// MountView mounts what MakeView has kept on a directory that it makes, unless it
// is mounted there.
func (r *Runtime) MountView(ctx context.Context, id string, n int, dir string) error {
	if mounted, err := mountinfo.Mounted(dir); mounted {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mounts, err := r.snapshots().Mounts(r.with(ctx), viewKey(id, n))
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = mount.All(mounts, dir)
	}
	if err != nil {
		return fmt.Errorf("mounting an image for container %q: %w", id, err)
	}
	return nil
}

// UnmountView undoes MountView; what is not mounted is no error.
func (r *Runtime) UnmountView(dir string) error {
	if err := unmount(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// DropViews lets go of what MakeView has kept for a container.
func (r *Runtime) DropViews(ctx context.Context, id string) error {
	return r.sweepViews(r.with(ctx), func(of string) bool { return of != id })
}

// sweepViews drops the views of containers that keep does not want.
func (r *Runtime) sweepViews(ctx context.Context, keep func(id string) bool) error {
	var left []string
	err := r.snapshots().Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if !keep(info.Labels[labelView]) {
			left = append(left, info.Name)
		}
		return nil
	}, `labels."`+labelView+`"`)
	var errs *multierror.Error
	errs = multierror.Append(errs, err)
	for _, key := range left {
		errs = multierror.Append(errs, r.removeSnapshot(ctx, key))
	}
	return errs.ErrorOrNil()
}
