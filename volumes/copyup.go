package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	copyfs "github.com/containerd/continuity/fs"
	"github.com/cyphar/filepath-securejoin"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Suffixes of the directories in which a copy is made beside a volume's
// directory, or names of those in it where that is a mount point.
const (
	copyingSuffix = ".copying" // incomplete: thrown away
	copiedSuffix  = ".copied"  // complete: moved into the volume, entry by entry
	copyingInside = ".gantry" + copyingSuffix
	copiedInside  = ".gantry" + copiedSuffix
)

// CopyUp fills an empty volume with what the image has at target below
// rootfs: content, owners, modes, times, extended attributes and links, and
// the directory's own owner and mode even where it is empty. A volume that
// holds anything is left as it is, and so is one for which the image has
// nothing. Symbolic links are followed inside rootfs only.
//
// A crash leaves the volume either empty or with a complete copy that the next
// CopyUp or Open moves in: entries are renamed, so that the directory stays
// the one that other containers have mounted.
func CopyUp(ctx context.Context, rootfs, target, volumeDir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("copy the image's content at %q into a volume: %w", target, err)
		}
	}()
	unlock, err := lockDir(ctx, filepath.Dir(volumeDir))
	if err != nil {
		return err
	}
	defer unlock()
	if err := finishCopy(volumeDir); err != nil {
		return err
	}
	empty, err := isEmpty(volumeDir)
	if err != nil || !empty {
		return err
	}
	source, err := securejoin.SecureJoin(rootfs, target)
	if err != nil {
		return err
	}
	st, err := os.Lstat(source)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return invalid("it is no directory")
	}
	copying, copied, err := stages(volumeDir)
	if err != nil {
		return err
	}
	if err := copyfs.CopyDir(copying, source); err != nil {
		return errors.Join(err, os.RemoveAll(copying))
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(context.Cause(ctx), os.RemoveAll(copying))
	}
	if err := os.Rename(copying, copied); err != nil {
		return err
	}
	return finishCopy(volumeDir)
}

// stages returns where a copy is made: on the volume's file system, and out of
// containers' sight where that is possible.
func stages(volumeDir string) (copying, copied string, err error) {
	mounted, err := mountinfo.Mounted(volumeDir)
	if mounted {
		return filepath.Join(volumeDir, copyingInside), filepath.Join(volumeDir, copiedInside), err
	}
	return volumeDir + copyingSuffix, volumeDir + copiedSuffix, err
}

// finishCopy throws away an incomplete copy and moves in a complete one.
func finishCopy(volumeDir string) error {
	copying, copied, err := stages(volumeDir)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(copying); err != nil {
		return err
	}
	entries, err := os.ReadDir(copied)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		err := moveNew(filepath.Join(copied, e.Name()), filepath.Join(volumeDir, e.Name()))
		if err != nil {
			return fmt.Errorf("move %q into the volume: %w", e.Name(), err)
		}
	}
	// What is left has the image's owner, mode and attributes, and nothing that counts.
	if err := removeContent(copied); err != nil {
		return err
	}
	if err := copyfs.CopyDir(volumeDir, copied); err != nil {
		return err
	}
	return os.Remove(copied)
}

// moveNew renames from to to, unless to exists: somebody else was quicker, and
// his file stays.
func moveNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // such as NFS
		if _, err = os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			return os.Rename(from, to)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func removeContent(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return e.Name() != "lost+found" // a fresh ext4 has it
	}), nil
}

// lockDir excludes other copies into the same volume. Waiting ends with ctx.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				locked <- err
				return
			}
		}
	}()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %q: %w", dir, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { <-locked; f.Close() }()
		return nil, fmt.Errorf("waiting for another copy into the volume: %w", context.Cause(ctx))
	}
}
