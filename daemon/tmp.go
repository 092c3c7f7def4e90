package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ownTemp gives this process a directory for temporary files below the data
// root, and removes what a killed daemon left in it: BuildKit mounts the file
// systems there that it works on.
func ownTemp(dataRoot string) error {
	dir := filepath.Join(dataRoot, "tmp")
	if err := emptyTemp(dir); err != nil {
		return fmt.Errorf("temporary files in %q: %w", dir, err)
	}
	return os.Setenv("TMPDIR", dir)
}

func emptyTemp(dir string) error {
	mounted, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return err
	}
	var errs *multierror.Error
	for i := len(mounted) - 1; i >= 0; i-- {
		if mounted[i].Mountpoint == dir {
			continue // somebody gave it a disk of its own
		}
		if err := unix.Unmount(mounted[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = multierror.Append(errs, &os.PathError{Op: "unmount", Path: mounted[i].Mountpoint, Err: err})
		}
	}
	if err := errs.ErrorOrNil(); err != nil {
		return err // what is mounted must not be emptied
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	left, err := os.ReadDir(dir)
	for _, e := range left {
		errs = multierror.Append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return multierror.Append(errs, err).ErrorOrNil()
}
