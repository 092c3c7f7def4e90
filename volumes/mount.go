package volumes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// checkOptions follows Docker's local driver: type, device and o, where device
// and type need each other and o needs both.
func checkOptions(v Volume) error {
	if v.Driver != "" && v.Driver != LocalDriver {
		return fmt.Errorf("error looking up volume plugin %[1]s: plugin %[1]q not found: %[2]w", v.Driver, errdefs.ErrNotFound)
	}
	for _, k := range slices.Sorted(maps.Keys(v.Options)) {
		switch k {
		case "type", "device", "o":
		case "size":
			return invalid("driver option %q (a quota) is not supported; a tmpfs takes its size in %q", k, "o")
		default:
			return invalid("invalid option: %q", k)
		}
	}
	if len(v.Options) == 0 {
		return nil
	}
	for _, k := range []string{"device", "type"} {
		if v.Options[k] == "" {
			return invalid("missing required option: %q", k)
		}
	}
	return nil
}

// Mount makes a volume's content available for user, a container's ID, and
// returns its directory. It may be repeated, and must be for every running
// container after a restart of the daemon, before the first Unmount: who uses
// a mount is known to this process only. After an error that ctx caused, the
// mount may still come about: call Unmount.
func (s *Store) Mount(ctx context.Context, name, user string) (string, error) {
	e, err := s.acquire(ctx, name)
	if err != nil {
		return "", err
	}
	v := e.volume
	if len(v.Options) == 0 {
		e.users[user] = true
		e.release()
		return v.Mountpoint, nil
	}
	// A network file system may make mount(2) wait for long: only the volume
	// waits with it, and the caller as long as it likes.
	done := make(chan error, 1)
	go func() {
		defer e.release()
		err := ensureMounted(ctx, v)
		if err == nil {
			e.users[user] = true
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("error while mounting volume '%s': failed to mount local volume: %w", name, err)
	}
	return v.Mountpoint, nil
}

// Unmount ends user's use of a volume, its subpaths included, and tells whether
// there was one; the last one unmounts it. Who does not use it, or a volume that
// does not exist, is no error.
func (s *Store) Unmount(ctx context.Context, name, user string) (was bool, err error) {
	e, err := s.acquire(ctx, name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer e.release()
	was = e.users[user]
	if err := s.releaseSubpaths(name, user); err != nil {
		return was, fmt.Errorf("unmount volume %q: %w", name, err)
	}
	delete(e.users, user)
	if len(e.users) > 0 || len(e.volume.Options) == 0 {
		return was, nil
	}
	if err := unmountBelow(e.volume.Mountpoint); err != nil {
		return was, fmt.Errorf("unmount volume %q: %w", name, err)
	}
	return was, nil
}

func ensureMounted(ctx context.Context, v Volume) error {
	mounted, err := mountinfo.Mounted(v.Mountpoint)
	if err != nil || mounted {
		return err
	}
	m := parseMount(v.Options)
	if m.data, err = resolveAddr(ctx, m.fstype, m.data); err != nil {
		return err
	}
	if err := unix.Mount(m.device, v.Mountpoint, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s:%s, flags: %#x, data: %s: %v: %w", m.device, v.Mountpoint, m.flags, masked(m.data), err, errdefs.ErrFailedPrecondition)
	}
	// A bind takes most flags only when it is remounted.
	if m.flags&unix.MS_BIND != 0 && m.flags&^(unix.MS_BIND|unix.MS_REC) != 0 {
		err = unix.Mount("", v.Mountpoint, "", m.flags|unix.MS_REMOUNT, "")
	}
	if err == nil && m.propagation != 0 {
		err = unix.Mount("", v.Mountpoint, "", m.propagation, "")
	}
	if err != nil {
		err = fmt.Errorf("options %q: %w", masked(v.Options["o"]), err)
		return errors.Join(err, unix.Unmount(v.Mountpoint, unix.MNT_DETACH))
	}
	return nil
}

type mountCall struct {
	device, fstype, data string
	flags, propagation   uintptr
}

var mountFlags = map[string]struct {
	clear bool
	flag  uintptr
}{
	"ro": {false, unix.MS_RDONLY}, "rw": {true, unix.MS_RDONLY},
	"nosuid": {false, unix.MS_NOSUID}, "suid": {true, unix.MS_NOSUID},
	"nodev": {false, unix.MS_NODEV}, "dev": {true, unix.MS_NODEV},
	"noexec": {false, unix.MS_NOEXEC}, "exec": {true, unix.MS_NOEXEC},
	"sync": {false, unix.MS_SYNCHRONOUS}, "async": {true, unix.MS_SYNCHRONOUS},
	"dirsync": {false, unix.MS_DIRSYNC},
	"noatime": {false, unix.MS_NOATIME}, "atime": {true, unix.MS_NOATIME},
	"nodiratime": {false, unix.MS_NODIRATIME}, "diratime": {true, unix.MS_NODIRATIME},
	"relatime": {false, unix.MS_RELATIME}, "norelatime": {true, unix.MS_RELATIME},
	"strictatime": {false, unix.MS_STRICTATIME}, "nostrictatime": {true, unix.MS_STRICTATIME},
	"bind": {false, unix.MS_BIND}, "rbind": {false, unix.MS_BIND | unix.MS_REC},
	"defaults": {}, "": {},
}

var propagationFlags = map[string]uintptr{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// parseMount turns the local driver's options into the arguments of mount(2).
func parseMount(options map[string]string) mountCall {
	m := mountCall{device: options["device"], fstype: options["type"]}
	var data []string
	for _, o := range strings.Split(options["o"], ",") {
		if p, ok := propagationFlags[o]; ok {
			m.propagation = p
			continue
		}
		f, ok := mountFlags[o]
		switch {
		case !ok:
			data = append(data, o)
		case f.clear:
			m.flags &^= f.flag
		default:
			m.flags |= f.flag
		}
	}
	m.data = strings.Join(data, ",")
	return m
}

// masked are mount options without passwords, for errors and logs.
func masked(options string) string {
	opts := strings.Split(options, ",")
	for i, o := range opts {
		if k, _, ok := strings.Cut(o, "="); ok && (k == "password" || k == "pass" || k == "password2") {
			opts[i] = k + "=********"
		}
	}
	return strings.Join(opts, ",")
}

// resolveAddr replaces a host's name in addr=NAME, which mount(8) would do for
// the kernel's network file systems.
func resolveAddr(ctx context.Context, fstype, data string) (string, error) {
	if !strings.HasPrefix(fstype, "nfs") && fstype != "cifs" {
		return data, nil
	}
	opts := strings.Split(data, ",")
	for i, o := range opts {
		host, ok := strings.CutPrefix(o, "addr=")
		if !ok || net.ParseIP(host) != nil {
			continue
		}
		ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
		if err != nil {
			return "", fmt.Errorf("address of %q: %v: %w", host, err, errdefs.ErrUnavailable)
		}
		opts[i] = "addr=" + ips[0].String()
	}
	return strings.Join(opts, ","), nil
}

// unmountBelow unmounts dir and all below it, the latest mount first, and
// fails when anything stays.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	var errs *multierror.Error
	for _, m := range slices.Backward(mounts) {
		err := unix.Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) { // open files keep the file system alive, not its place
			err = unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: gone meanwhile
			errs = multierror.Append(errs, fmt.Errorf("unmount %q: %w", m.Mountpoint, err))
		}
	}
	if len(mounts) == 0 || errs != nil {
		return errs.ErrorOrNil()
	}
	left, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("%q is still mounted: %w", left[0].Mountpoint, errdefs.ErrFailedPrecondition)
	}
	return nil
}
