// Package files reads and writes the file systems of containers, which are
// hostile: their processes may change anything while it is looked at, and so
// may whoever made an archive.
package files

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Tree is a container's file system: its root with what is mounted there, in
// a mount namespace of its own, which nobody else sees and which is gone with
// the process at the latest. What belongs to the kernel is left out: /dev,
// proc, sysfs and the like, through which a path could lead to the host.
type Tree struct {
	root *os.File
	ns   *os.File // keeps the mounts below root; nil when there are none
}

// Mount is what a tree that is not in use has besides its root.
type Mount struct {
	Source   string // on the host
	Target   string // absolute
	ReadOnly bool
}

// Close lets go of everything. A Tree may be closed while it is read.
func (t *Tree) Close() error {
	var errs *multierror.Error
	for _, f := range []*os.File{t.root, t.ns} {
		if f != nil {
			errs = multierror.Append(errs, f.Close())
		}
	}
	return errs.ErrorOrNil()
}

// Enter returns the tree that process pid has, with a root that is the
// directory rootfs. readOnly protects all of it.
func Enter(pid int, rootfs string, readOnly bool) (*Tree, error) {
	var want unix.Stat_t
	if err := unix.Stat(rootfs, &want); err != nil {
		return nil, fmt.Errorf("root directory %q: %w", rootfs, err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return build(readOnly, func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
			return os.NewSyscallError("setns", err)
		}
		var got unix.Stat_t
		if err := unix.Stat("/", &got); err != nil {
			return err
		}
		if got.Dev != want.Dev || got.Ino != want.Ino {
			return fmt.Errorf("process %d has another root than %q: %w", pid, rootfs, unix.ESRCH)
		}
		return isolate()
	})
}

// Assemble returns the tree of rootfs, a mount point, with mounts in it; those
// whose place is missing get one. readOnly protects all of it.
func Assemble(rootfs string, mounts []Mount, readOnly bool) (*Tree, error) {
	mounts = slices.Clone(mounts)
	slices.SortStableFunc(mounts, func(a, b Mount) int { return strings.Count(a.Target, "/") - strings.Count(b.Target, "/") })
	return build(readOnly, func() error {
		if err := isolate(); err != nil {
			return err
		}
		root, err := os.OpenFile(rootfs, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer root.Close()
		for _, m := range mounts {
			if err := bind(root, m); err != nil {
				return fmt.Errorf("mount %q at %q: %w", m.Source, m.Target, err)
			}
		}
		// the host's mounts must not be kept by this namespace
		if err := unix.Fchdir(int(root.Fd())); err != nil {
			return err
		}
		if err := unix.PivotRoot(".", "."); err != nil {
			return os.NewSyscallError("pivot_root", err)
		}
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return os.NewSyscallError("umount", err)
		}
		return unix.Chdir("/")
	})
}

// Clone returns the file system at rootfs, a mount point, without anything
// that is mounted in it, and read-only.
func Clone(rootfs string) (*Tree, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, rootfs, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("root directory %q: %w", rootfs, os.NewSyscallError("open_tree", err))
	}
	t := &Tree{root: os.NewFile(uintptr(fd), "/")}
	return t, t.protect()
}

// build makes a tree of the mount namespace that enter leads to.
func build(readOnly bool, enter func() error) (*Tree, error) {
	t := &Tree{}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		self, err := os.Open("/proc/thread-self")
		if err != nil {
			return err
		}
		defer self.Close()
		if err := enter(); err != nil {
			return err
		}
		if err := dropKernel(self); err != nil {
			return err
		}
		if t.ns, err = openAt(self, "ns/mnt", unix.O_RDONLY); err != nil {
			return err
		}
		if t.root, err = os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY, 0); err == nil && readOnly {
			err = t.protect()
		}
		return err
	})
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// isolate gives the thread a copy of its mount namespace of which nothing
// leads back.
func isolate() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("mount", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// protect makes all mounts of the tree read-only, which concerns nobody else.
// Kernels before 5.12 cannot, and nothing here writes then either.
func (t *Tree) protect() error {
	err := unix.MountSetattr(int(t.root.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("mount_setattr", err)
}

func bind(root *os.File, m Mount) error {
	var st unix.Stat_t
	if err := unix.Stat(m.Source, &st); err != nil {
		return err
	}
	at, err := place(root, m.Target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := unix.Mount(m.Source, fdPath(at), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if !m.ReadOnly {
		return nil
	}
	top, err := openInRoot(root, m.Target, unix.O_PATH) // what has just been mounted
	if err != nil {
		return err
	}
	defer top.Close()
	return unix.Mount("", fdPath(top), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// place opens where something is mounted, and makes it when it is missing.
func place(root *os.File, target string, isDir bool) (*os.File, error) {
	f, err := openInRoot(root, target, unix.O_PATH)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	dir := target
	if !isDir {
		dir = path.Dir(target)
	}
	parent, err := pathrs.MkdirAllHandle(root, strings.TrimPrefix(dir, "/"), 0o755)
	if err != nil || isDir {
		return parent, err
	}
	defer parent.Close()
	f, err = openAt(parent, path.Base(target), unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	f.Close()
	return openInRoot(root, target, unix.O_PATH)
}

func openInRoot(root *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, &os.PathError{Op: "openat2", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func openAt(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func fdPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// kernelTypes are the file systems that show the kernel rather than data.
var kernelTypes = map[string]bool{
	"autofs": true, "binder": true, "binfmt_misc": true, "bpf": true, "cgroup": true, "cgroup2": true, "configfs": true,
	"debugfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true, "fusectl": true, "mqueue": true, "nsfs": true,
	"proc": true, "pstore": true, "resctrl": true, "rpc_pipefs": true, "securityfs": true, "selinuxfs": true, "sysfs": true, "tracefs": true,
}

func isKernel(m *mountinfo.Info) (skip, stop bool) {
	return !kernelTypes[m.FSType] && m.Mountpoint != "/dev", false
}

// dropKernel unmounts what shows the kernel from the thread's namespace, with
// all that is mounted there. self is the thread's directory in the host's proc.
func dropKernel(self *os.File) error {
	for range 8 { // one may have lain on another
		f, err := openAt(self, "mountinfo", unix.O_RDONLY)
		if err != nil {
			return err
		}
		found, err := mountinfo.GetMountsFromReader(f, isKernel)
		f.Close()
		if err != nil || len(found) == 0 {
			return err
		}
		for _, m := range found {
			// one that lay below another is gone with it
			err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				return &os.PathError{Op: "umount", Path: m.Mountpoint, Err: err}
			}
		}
	}
	return errors.New("the kernel's file systems are mounted too often")
}
