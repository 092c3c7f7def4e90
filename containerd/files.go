package containerd

import (
	"context"
	"fmt"
	"path/filepath"

	"gantry/containerd/files"

	"github.com/containerd/errdefs"
)

// RunningFiles is the file system that a container's process pid sees, without
// the kernel's. ErrFailedPrecondition when the container does not run.
func (r *Runtime) RunningFiles(id string, pid int, readOnly bool) (*files.Tree, error) {
	dir, err := r.bundle(id)
	if err != nil {
		return nil, err
	}
	t, err := files.Enter(pid, filepath.Join(dir, "rootfs"), readOnly)
	if err != nil {
		return nil, fmt.Errorf("file system of container %q: %w: %w", id, err, errdefs.ErrFailedPrecondition)
	}
	return t, nil
}

// StoppedFiles is the file system that a container which does not run would
// see, with mounts at their places. The sources of the mounts are needed until
// it returns.
func (r *Runtime) StoppedFiles(ctx context.Context, id string, mounts []files.Mount, readOnly bool) (t *files.Tree, err error) {
	err = r.withMounted(r.with(ctx), id, func(path string) error {
		t, err = files.Assemble(path, mounts, readOnly)
		return err
	})
	return keep(t, id, err)
}

// RootFiles is a container's file system as it is on disk, without anything
// that is mounted there, running or not. It cannot be written.
func (r *Runtime) RootFiles(ctx context.Context, id string) (t *files.Tree, err error) {
	err = r.MountRoot(ctx, id, func(path string) error {
		t, err = files.Clone(path)
		return err
	})
	return keep(t, id, err)
}

func keep(t *files.Tree, id string, err error) (*files.Tree, error) {
	if err == nil {
		return t, nil
	}
	if t != nil {
		t.Close()
	}
	return nil, fmt.Errorf("file system of container %q: %w", id, err)
}
