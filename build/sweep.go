package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	runc "github.com/containerd/go-runc"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mountPool is where in a builder's root several steps share file systems. What
// an earlier builder has left in it BuildKit removes.
const mountPool = "worker/mounts"

// Sweep ends the steps that a killed builder left running and unmounts their
// file systems. Bundles are ours, so their containers are.
//
// It is called before Open, and by a daemon that starts: it may never build.
func Sweep(ctx context.Context, root, state, runcPath string) error {
	entries, err := os.ReadDir(state)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	r := &runc.Runc{Command: runcPath}
	var errs *multierror.Error
	for _, e := range entries {
		if e.IsDir() {
			if err := r.Delete(ctx, e.Name(), &runc.DeleteOpts{Force: true}); err != nil && !strings.Contains(err.Error(), "does not exist") {
				errs = multierror.Append(errs, err)
			}
		}
	}
	for _, dir := range []string{state, filepath.Join(root, mountPool)} {
		mounted, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
		if err != nil {
			return multierror.Append(errs, err)
		}
		for i := len(mounted) - 1; i >= 0; i-- {
			if err := mount.UnmountAll(mounted[i].Mountpoint, unix.MNT_DETACH); err != nil {
				errs = multierror.Append(errs, err)
			}
		}
	}
	for _, e := range entries {
		if errs.ErrorOrNil() == nil {
			errs = multierror.Append(errs, os.RemoveAll(filepath.Join(state, e.Name())))
		}
	}
	return errs.ErrorOrNil()
}
