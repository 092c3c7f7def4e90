package volumes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// subpathsDir is in a volume's directory; below it every user has a directory
// for what MountSubpath mounts.
const subpathsDir = "subpaths"

// SubpathMount is where MountSubpath mounts, for a runtime specification that
// is written before.
func (s *Store) SubpathMount(name, user, subpath string) string {
	return filepath.Join(s.userSubpaths(name, user), short(subpath))
}

func (s *Store) userSubpaths(name, user string) string {
	return filepath.Join(s.root, name, subpathsDir, short(user))
}

// short names a directory after something that may hold slashes.
func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

// MountSubpath makes a directory or file inside a volume available at
// SubpathMount, after Mount for the same user and until Unmount. Unlike a
// path, which a container that shares the volume could redirect to the host's
// files by a symbolic link before it is mounted, it is bound for good. It may
// be repeated.
func (s *Store) MountSubpath(ctx context.Context, name, user, subpath string) (string, error) {
	e, err := s.acquire(ctx, name)
	if err != nil {
		return "", err
	}
	defer e.release()
	if !e.users[user] {
		return "", fmt.Errorf("volume %q is not mounted for %q: %w", name, user, errdefs.ErrFailedPrecondition)
	}
	at := s.SubpathMount(name, user, subpath)
	if mounted, err := mountinfo.Mounted(at); mounted {
		return at, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("volume %q: %w", name, err)
	}
	h, err := openSubpath(e.volume.Mountpoint, subpath)
	if err != nil {
		return "", fmt.Errorf("volume %q: %w", name, err)
	}
	defer h.Close()
	if err := mountPlace(at, h); err != nil {
		return "", fmt.Errorf("volume %q: subpath %q: %w", name, subpath, err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", h.Fd()), at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return "", fmt.Errorf("volume %q: mount subpath %q: %w", name, subpath, err)
	}
	return at, nil
}

// mountPlace makes what h can be mounted on: a directory or an empty file.
func mountPlace(at string, h *os.File) error {
	st, err := h.Stat()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(at); err != nil { // of an earlier run, when it was of the other kind
		return err
	}
	if st.IsDir() {
		return os.MkdirAll(at, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// releaseSubpaths unmounts what MountSubpath has mounted for user.
func (s *Store) releaseSubpaths(name, user string) error {
	dir := s.userSubpaths(name, user)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return removeTree(dir)
}

// openSubpath opens subpath as a process chrooted to dir would see it.
func openSubpath(dir, subpath string) (*os.File, error) {
	if !filepath.IsLocal(subpath) {
		return nil, invalid("subpath %q does not stay inside the volume", subpath)
	}
	h, err := pathrs.OpenInRoot(dir, subpath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalid("subpath %q does not exist in the volume", subpath)
	}
	if err != nil {
		return nil, fmt.Errorf("subpath %q: %w", subpath, err)
	}
	return h, nil
}

// ResolveSubpath returns the real path of subpath inside dir. Symbolic links
// are followed as if dir were the root, so that none leads out of it. It says
// how things are now: to mount it where others write, use Store.MountSubpath.
func ResolveSubpath(dir, subpath string) (string, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("volume directory %q: %w", dir, err)
	}
	h, err := openSubpath(root, subpath)
	if err != nil {
		return "", err
	}
	defer h.Close()
	real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", h.Fd()))
	if err != nil {
		return "", fmt.Errorf("subpath %q: %w", subpath, err)
	}
	if !contains(root, real) {
		return "", invalid("subpath %q does not stay inside the volume", subpath)
	}
	return real, nil
}
