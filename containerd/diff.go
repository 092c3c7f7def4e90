package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"gantry/containerd/files"

	"github.com/containerd/containerd/v2/core/mount"
)

// Changes lists what a container's file system has otherwise than its image,
// sorted by path; of a directory that is gone only itself. Mount points are
// among it.
func (r *Runtime) Changes(ctx context.Context, id string) (changes []files.Change, err error) {
	ctx = r.with(ctx)
	defer func() {
		if err != nil {
			err = fmt.Errorf("changes of container %q: %w", id, err)
		}
	}()
	info, err := r.snapshots().Stat(ctx, id)
	if err != nil {
		return nil, err
	}
	mounts, err := r.snapshots().Mounts(ctx, id)
	if err != nil {
		return nil, err
	}
	ctx, done, err := r.lease(ctx, "")
	if err != nil {
		return nil, err
	}
	defer done()
	image := "diff-" + rand.Text()
	if _, err := r.snapshots().View(ctx, image, info.Parent); err != nil {
		return nil, err
	}
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if rerr := r.removeSnapshot(cctx, image); rerr != nil && err == nil {
			err = rerr
		}
	}()
	err = r.withMounted(ctx, image, func(base string) error {
		if upper := upperDir(mounts); upper != "" {
			changes, err = files.LayerChanges(ctx, base, upper)
			if !errors.Is(err, files.ErrRenamedDirectories) {
				return err
			}
		}
		return r.MountRoot(ctx, id, func(root string) error {
			changes, err = files.Compare(ctx, base, root)
			return err
		})
	})
	return changes, err
}

// upperDir is the directory in which overlayfs keeps a container's changes, ""
// when the snapshotter is another one.
func upperDir(mounts []mount.Mount) string {
	if len(mounts) != 1 || mounts[0].Type != "overlay" {
		return ""
	}
	for _, o := range mounts[0].Options {
		if dir, ok := strings.CutPrefix(o, "upperdir="); ok {
			if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
				return dir
			}
		}
	}
	return ""
}
