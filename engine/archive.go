package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gantry/containerd/files"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"
)

// WriteArchiveOptions says how an archive is unpacked into a container.
type WriteArchiveOptions struct {
	NoOverwriteDirNonDir bool
	CopyUIDGID           bool // give everything to the container's user
}

// StatPath tells what is at a path in a container. ErrNotFound.
func (e *Engine) StatPath(ctx context.Context, ref, path string) (container.PathStat, error) {
	c, err := e.find(ref)
	if err != nil {
		return container.PathStat{}, err
	}
	var st container.PathStat
	err = e.withFiles(ctx, c, true, func(t *files.Tree) error {
		st, err = t.Stat(path)
		return err
	})
	return st, fileError(c, path, err)
}

// ReadArchive writes a path of a container to w as a tar archive; begin gets to
// know before the first byte what is there. ErrNotFound.
func (e *Engine) ReadArchive(ctx context.Context, ref, path string, w io.Writer, begin func(container.PathStat) error) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	err = e.withFiles(ctx, c, true, func(t *files.Tree) error {
		st, err := t.Stat(path)
		if err != nil {
			return err
		}
		if err := begin(st); err != nil {
			return err
		}
		e.emitContainer(c, events.ActionArchivePath, nil)
		return t.Pack(ctx, path, w)
	})
	return fileError(c, path, err)
}

// WriteArchive unpacks a tar archive into a directory of a container.
// ErrPermissionDenied where the container may not write either.
func (e *Engine) WriteArchive(ctx context.Context, ref, path string, r io.Reader, opts WriteArchiveOptions) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	rec := c.record()
	unpack := files.UnpackOptions{NoOverwriteDirNonDir: opts.NoOverwriteDirNonDir}
	if opts.CopyUIDGID && rec.Config.User != "" {
		s, err := e.rt.Spec(ctx, c.id)
		if err != nil {
			return err
		}
		unpack.Owner = &files.Owner{UID: int(s.Process.User.UID), GID: int(s.Process.User.GID)}
	}
	err = e.withFiles(ctx, c, false, func(t *files.Tree) error {
		target, err := t.Resolve(path)
		if err != nil {
			return err
		}
		_, stopped := c.current()
		if err := checkWritable(&rec, target, stopped == nil); err != nil {
			return err
		}
		return t.Unpack(ctx, path, r, unpack)
	})
	if err != nil {
		return fileError(c, path, err)
	}
	e.emitContainer(c, events.ActionExtractToDir, nil)
	return nil
}

// fileError says of which container a file is missing, as Docker does.
func fileError(c *ctr, path string, err error) error {
	if err == nil || errdefs.IsNotFound(err) {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Could not find the file %s in container %s: %w", path, c.name(), errdefs.ErrNotFound)
	}
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("path %q in container %s: %w: %w", path, c.name(), err, errdefs.ErrInvalidArgument)
	}
	return err
}

// checkWritable refuses targets, without symbolic links, that lie where a
// container may not write.
func checkWritable(rec *record, target string, running bool) error {
	best := -1
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		if p.Type == mount.TypeTmpfs && !running { // it is there in a run only
			continue
		}
		if within(p.Target, target) && (best < 0 || len(p.Target) > len(rec.Mounts[best].Target)) {
			best = i
		}
	}
	switch {
	case best >= 0 && !rec.Mounts[best].RW:
		return fmt.Errorf("mounted volume is marked read-only: %w", errdefs.ErrPermissionDenied)
	case best < 0 && rec.HostConfig.ReadonlyRootfs:
		return fmt.Errorf("container rootfs is marked read-only: %w", errdefs.ErrPermissionDenied)
	}
	return nil
}

func within(dir, path string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

// withFiles gives f the file system of a container as the container sees it.
// Nothing is locked meanwhile: the container may be started, stopped and
// removed.
func (e *Engine) withFiles(ctx context.Context, c *ctr, readOnly bool, f func(*files.Tree) error) error {
	t, err := e.openFiles(ctx, c, readOnly)
	if err != nil {
		return err
	}
	defer t.Close()
	return f(t)
}

func (e *Engine) openFiles(ctx context.Context, c *ctr, readOnly bool) (*files.Tree, error) {
	if r, err := c.current(); err == nil {
		t, err := e.rt.RunningFiles(c.id, r.pid, readOnly)
		if now, gone := c.current(); err == nil || gone == nil && now == r {
			return t, err
		}
		// it has ended meanwhile
	}
	rec := c.record()
	user := rec.ID + "-copy-" + rand.Text()[:8]
	mounts, err := e.volumesOf(ctx, c, &rec, user)
	var t *files.Tree
	if err == nil {
		t, err = e.rt.StoppedFiles(ctx, c.id, mounts, readOnly)
	}
	cctx, cancel := e.cleanupContext()
	defer cancel()
	err = errJoin(err, e.releaseImages(&rec, user))
	for i := range rec.Mounts {
		if p := &rec.Mounts[i]; p.Type == mount.TypeVolume { // the tree has its own mounts
			_, uerr := e.volumes.Unmount(cctx, p.Name, user)
			err = errJoin(err, uerr)
		}
	}
	if err != nil && t != nil {
		t.Close()
		t = nil
	}
	return t, err
}

// volumesOf makes the volumes of a container that does not run available to
// user, and says where they are, and the files that are mounted besides.
func (e *Engine) volumesOf(ctx context.Context, c *ctr, rec *record, user string) ([]files.Mount, error) {
	var out []files.Mount
	covered := map[string]bool{}
	add := func(source, target string, readOnly bool) {
		covered[target] = true
		if _, err := os.Stat(source); err == nil { // of a bind it may be gone
			out = append(out, files.Mount{Source: source, Target: target, ReadOnly: readOnly})
		}
	}
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		source := p.Source
		switch p.Type {
		case mount.TypeTmpfs:
			continue
		case mount.TypeVolume:
			dir, err := e.volumes.Mount(ctx, p.Name, user)
			if err == nil && p.Subpath != "" {
				dir, err = e.volumes.MountSubpath(ctx, p.Name, user, p.Subpath)
			}
			if err != nil {
				return nil, err
			}
			source = dir
		case mount.TypeImage:
			dir := e.imageMount(user, i)
			if err := e.rt.MountView(ctx, rec.ID, i, dir); err != nil {
				return nil, err
			}
			source = dir + strings.TrimPrefix(p.Source, e.imageMount(rec.ID, i))
		}
		add(source, filepath.Clean(p.Target), !p.RW)
	}
	for i, f := range rec.Files {
		add(givenPath(c.dir, i), filepath.Clean(f.Target), true)
	}
	own := e.files(c, rec)
	for _, target := range slices.Sorted(maps.Keys(own)) {
		if !covered[target] {
			add(own[target], target, rec.HostConfig.ReadonlyRootfs)
		}
	}
	return out, nil
}
