package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// removeCgroup kills what is left of a container that has no task, and removes
// its cgroup: a runc that was killed while it made them cannot be asked to.
func removeCgroup(c containers.Container) error {
	if c.Spec == nil {
		return nil
	}
	var spec specs.Spec
	if err := json.Unmarshal(c.Spec.GetValue(), &spec); err != nil {
		return fmt.Errorf("runtime spec of container %q: %w", c.ID, err)
	}
	if spec.Linux == nil || !path.IsAbs(spec.Linux.CgroupsPath) || path.Clean(spec.Linux.CgroupsPath) == "/" {
		return nil // none of its own, or systemd's
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return fmt.Errorf("cgroup mounts: %w", err)
	}
	var errs *multierror.Error
	for _, m := range mounts {
		if err := emptyCgroup(filepath.Join(m.Mountpoint, spec.Linux.CgroupsPath)); err != nil {
			errs = multierror.Append(errs, fmt.Errorf("cgroup of container %q: %w", c.ID, err))
		}
	}
	return errs.ErrorOrNil()
}

// emptyCgroup kills the processes of one cgroup and removes it.
func emptyCgroup(dir string) error {
	deadline := time.Now().Add(shimEnd)
	for {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		killed, err := killAll(dir)
		if err != nil {
			return err
		}
		if killed == 0 {
			// Ended, but not yet gone from the cgroup; the kernel tells nobody when.
			time.Sleep(time.Millisecond)
		}
	}
}

// killAll kills a cgroup's processes and waits for their end.
func killAll(dir string) (killed int, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for _, f := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(f)
		if err != nil || pid == 0 {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil && exited(fd, shimEnd) {
			killed++
		}
		unix.Close(fd)
	}
	return killed, nil
}
