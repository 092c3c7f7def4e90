package files

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread runs f on a thread that nobody else uses, before or after: f may
// change the thread's root directory and mount namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// What this one is, the whole process is in /proc/self. It is taken
			// until another has begun.
			defer runtime.UnlockOSThread()
			done <- onThread(f)
			return
		}
		done <- caught(f)
	}()
	return <-done
}

// caught makes an error of a panic: what is read here comes from containers
// and clients.
func caught(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v", p)
		}
	}()
	return f()
}

// inside runs f with the tree's root as the root directory, and with its
// mounts as the thread's own: the kernel refuses to remove where something is
// mounted only to those who see that. There are no magic links below the root,
// as no procfs is: no path that f uses leads out, whatever the container's
// processes do meanwhile.
func (t *Tree) inside(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		if t.ns != nil {
			if err := unix.Setns(int(t.ns.Fd()), unix.CLONE_NEWNS); err != nil {
				return os.NewSyscallError("setns", err)
			}
		}
		if err := enterRoot(int(t.root.Fd())); err != nil {
			return err
		}
		unix.Umask(0)
		return f()
	})
}

func enterRoot(fd int) error {
	if err := unix.Fchdir(fd); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := unix.Chroot("."); err != nil {
		return os.NewSyscallError("chroot", err)
	}
	return os.NewSyscallError("chdir", unix.Chdir("/"))
}
