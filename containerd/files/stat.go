package files

import (
	"os"
	"path/filepath"

	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/moby/go-archive"
	"github.com/moby/moby/api/types/container"
)

// absolute is path from the root, with the "/" or "/." at its end that says
// that a directory is meant.
func absolute(path string) string {
	return archive.PreserveTrailingDotOrSeparator(filepath.Join("/", path), path)
}

// Stat tells what is at path, which is not followed if it is a symbolic link
// without a slash behind it. Source: Engine API, HEAD /containers/{id}/archive.
func (t *Tree) Stat(path string) (st container.PathStat, err error) {
	path = absolute(path)
	err = t.inside(func() error {
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st = container.PathStat{Name: filepath.Base(path), Size: fi.Size(), Mode: fi.Mode(), Mtime: fi.ModTime()}
		if fi.Mode()&os.ModeSymlink != 0 {
			st.LinkTarget, err = securejoin.SecureJoin("/", path)
		}
		return err
	})
	return st, err
}

// Resolve returns where path leads, as far as it exists.
func (t *Tree) Resolve(path string) (target string, err error) {
	err = t.inside(func() error {
		target, err = securejoin.SecureJoin("/", path)
		return err
	})
	return target, err
}
