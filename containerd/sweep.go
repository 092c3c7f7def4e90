package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"
)

// Sweep removes what a killed process has left behind: containers that keep
// does not want, with their tasks; file systems prepared for containers that
// never were; exit records of containers that are gone; shims that serve
// nothing, and what remains of dead ones.
//
// It must have returned before anything is created.
func (r *Runtime) Sweep(ctx context.Context, keep func(id string) bool) error {
	ctx = r.with(ctx)
	var (
		errs  *multierror.Error
		swept []string
	)
	list, err := r.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	if r.server != nil {
		// First what could still be creating something, then what it made.
		errs = multierror.Append(errs, r.sweepShims(), r.sweepBundles(ctx), r.sweepRunc(ctx))
	}
	for _, c := range list {
		if keep(c.ID) {
			continue
		}
		swept = append(swept, c.ID)
		errs = multierror.Append(errs, r.destroy(ctx, c.ID), removeCgroup(c))
	}
	orphans, err := r.walkSnapshots(ctx, `labels."`+labelContainer+`"`)
	errs = multierror.Append(errs, err)
	for _, id := range orphans {
		if !keep(id) && !slices.Contains(swept, id) {
			swept = append(swept, id)
			errs = multierror.Append(errs, r.removeSnapshot(ctx, id))
		}
	}
	errs = multierror.Append(errs, r.sweepViews(ctx, keep))
	exits, err := r.exitIDs()
	errs = multierror.Append(errs, err)
	for _, id := range exits {
		if !keep(id) {
			errs = multierror.Append(errs, r.RemoveExitRecord(id))
		}
	}
	errs = multierror.Append(errs, r.sweepLeases(ctx))
	if r.server != nil {
		errs = multierror.Append(errs, r.sweepSockets(), r.sweepIngests())
	}
	if len(swept) > 0 {
		r.log.Warnf("removed what was left of containers %q", swept)
		errs = multierror.Append(errs, r.Collect(ctx))
	} else {
		errs = multierror.Append(errs, r.recollect(ctx))
	}
	return errs.ErrorOrNil()
}

// sweepLeases lets go of what loads, imports and commits that broke off have
// left. Pulls keep theirs, the next one goes on there;
// and so do builds, which have it as their cache.
func (r *Runtime) sweepLeases(ctx context.Context) error {
	list, err := r.client.LeasesService().List(ctx)
	if err != nil {
		return fmt.Errorf("listing leases: %w", err)
	}
	var errs *multierror.Error
	for _, l := range list {
		if !strings.HasPrefix(l.ID, workLease) {
			continue
		}
		if err := r.client.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			errs = multierror.Append(errs, fmt.Errorf("lease %q: %w", l.ID, err))
		}
	}
	return errs.ErrorOrNil()
}

// recollect has the files removed of what a killed process had removed itself
// without collecting it. containerd only looks for such files after a snapshot
// was removed, and forgets that with the process.
func (r *Runtime) recollect(ctx context.Context) error {
	key := fmt.Sprintf("sweep-%d", time.Now().UnixNano())
	if _, err := r.snapshots().Prepare(ctx, key, ""); err != nil {
		return fmt.Errorf("garbage collection: %w", err)
	}
	return r.removeSnapshot(ctx, key) // which requests the collection
}

// sweepIngests removes downloads that broke off before their names were written
// down, by a kill or on a full disk: nobody can go on with them, and containerd
// overlooks them.
func (r *Runtime) sweepIngests() error {
	all, err := filepath.Glob(filepath.Join(r.cfg.Root, contentPlugin, "ingest", "*"))
	if err != nil {
		return err
	}
	var errs *multierror.Error
	for _, dir := range all {
		if ref, err := os.ReadFile(filepath.Join(dir, "ref")); err == nil && len(ref) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			continue
		}
		errs = multierror.Append(errs, os.RemoveAll(dir))
	}
	return errs.ErrorOrNil()
}

// destroy kills and removes a container, whatever it does.
func (r *Runtime) destroy(ctx context.Context, id string) error {
	bound, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := r.Kill(bound, id, "", unix.SIGKILL, true)
	if err == nil {
		_, err = r.client.TaskService().Wait(bound, &tasks.WaitRequest{ContainerID: id})
		err = errgrpc.ToNative(err)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		r.log.WithError(err).Warnf("container %q cannot be killed", id)
	}
	if _, _, err := r.DeleteTask(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return r.DeleteContainer(ctx, id)
}

// sweepBundles removes the bundles of tasks that containerd does not know:
// their creation was under way, and a next one would find them in its way.
func (r *Runtime) sweepBundles(ctx context.Context) error {
	ids, err := r.bundleIDs()
	if err != nil {
		return err
	}
	var errs *multierror.Error
	for _, id := range ids {
		if _, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
			continue
		}
		dir, err := r.bundle(id)
		if err == nil {
			err = mount.UnmountRecursive(filepath.Join(dir, "rootfs"), unix.MNT_DETACH)
		}
		if err == nil {
			err = errors.Join(os.RemoveAll(dir), os.RemoveAll(filepath.Join(r.cfg.Root, taskPlugin, r.cfg.Namespace, id)))
		}
		if err != nil {
			errs = multierror.Append(errs, fmt.Errorf("what is left of a task of container %q: %w", id, err))
		}
	}
	// containerd hides a directory before it removes it, and then overlooks it.
	for _, parent := range []string{r.cfg.State, r.cfg.Root} {
		hidden, err := filepath.Glob(filepath.Join(parent, taskPlugin, r.cfg.Namespace, ".*"))
		errs = multierror.Append(errs, err)
		for _, dir := range hidden {
			errs = multierror.Append(errs, os.RemoveAll(dir))
		}
	}
	return errs.ErrorOrNil()
}

// sweepRunc removes containers that runc has and containerd has not: their
// creation was under way when the process was killed.
func (r *Runtime) sweepRunc(ctx context.Context) error {
	root := filepath.Join(r.cfg.runcRoot(), r.cfg.Namespace)
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("runc's containers: %w", err)
	}
	bundles, err := r.bundleIDs()
	if err != nil {
		return err
	}
	var errs *multierror.Error
	for _, e := range entries {
		if slices.Contains(bundles, e.Name()) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		out, err := exec.CommandContext(ctx, r.cfg.RuncPath, "--root", root, "delete", "--force", e.Name()).CombinedOutput()
		cancel()
		if err != nil {
			errs = multierror.Append(errs, fmt.Errorf("deleting runc's container %q: %w: %s", e.Name(), err, strings.TrimSpace(string(out))))
		}
	}
	return errs.ErrorOrNil()
}
