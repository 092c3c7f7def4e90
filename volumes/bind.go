package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/sys/mountinfo"
)

// Bind checks the source of a bind. A missing one is made a directory when
// createHostPath says so, else it is an errdefs.ErrInvalidArgument (not
// ErrNotFound: that would say that the container's image is missing).
func Bind(source string, createHostPath bool) error {
	if !filepath.IsAbs(source) {
		return invalid("bind source %q is not an absolute path", source)
	}
	_, err := os.Stat(source)
	if errors.Is(err, fs.ErrNotExist) && createHostPath {
		if info, lerr := os.Lstat(source); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
			return invalid("bind source %q is a symbolic link to nothing", source)
		}
		// Another container may have made it in between, which MkdirAll allows.
		err = os.MkdirAll(source, 0o755)
		if err != nil {
			return fmt.Errorf("bind source %q does not exist and cannot be made: %v: %w", source, err, errdefs.ErrInvalidArgument)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return invalid("invalid mount config for type \"bind\": bind source path does not exist: %s", source)
	case err != nil:
		return fmt.Errorf("bind source %q: %v: %w", source, err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// CheckPropagation tells whether mounts made in a container can reach the
// host, as shared and rshared ask for: the mount that holds source must be
// shared. A slave of a private mount gets nothing, which harms nobody.
func CheckPropagation(source string, p mount.Propagation) error {
	if p != mount.PropagationShared && p != mount.PropagationRShared {
		return nil
	}
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return fmt.Errorf("bind source %q: %v: %w", source, err, errdefs.ErrInvalidArgument)
	}
	parents, err := mountinfo.GetMounts(mountinfo.ParentsFilter(real))
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	if len(parents) == 0 {
		return fmt.Errorf("bind source %q: its mount cannot be found: %w", source, errdefs.ErrUnavailable)
	}
	// The longest holds it; of two at one place the later one is on top.
	top := parents[0]
	for _, m := range parents {
		if len(m.Mountpoint) >= len(top.Mountpoint) {
			top = m
		}
	}
	if !strings.Contains(top.Optional, "shared:") {
		return invalid("bind source %q: propagation %s needs a shared mount, but that at %q is private; try: mount --make-rshared %s", source, p, top.Mountpoint, top.Mountpoint)
	}
	return nil
}
