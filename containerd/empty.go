package containerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// EmptyLayer deletes what a container has written to its file system, and leaves
// the layer: it writes nothing anywhere, for disks that are full. The container
// does not run and is about to be removed.
func (r *Runtime) EmptyLayer(ctx context.Context, id string) error {
	mounts, err := r.snapshots().Mounts(r.with(ctx), id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	upper := upperDir(mounts)
	if upper == "" {
		return nil
	}
	entries, err := os.ReadDir(upper)
	errs := []error{err}
	for _, entry := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(upper, entry.Name())))
	}
	return errors.Join(errs...)
}
