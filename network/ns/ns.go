// Package ns makes, enters and removes network namespaces that are pinned by a
// bind mount.
package ns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Create makes a network namespace, pins it at path and runs f in it. When any
// of that fails, nothing is left at path.
func Create(path string, f func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	pin, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	pin.Close()
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		return nil
	}, func() error {
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("pin network namespace at %q: %w", path, err)
		}
		return f()
	})
	if err != nil {
		return errors.Join(err, Remove(path))
	}
	return nil
}

// Do runs f on a thread that is in the namespace at path; goroutines that f
// starts are not. The error is errdefs.ErrNotFound when nothing is pinned there.
func Do(path string, f func() error) error {
	if !Pinned(path) {
		return fmt.Errorf("network namespace %q: %w", path, errdefs.ErrNotFound)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace %q: %w", path, err)
	}
	defer unix.Close(fd)
	return onThread(func() error { return unix.Setns(fd, unix.CLONE_NEWNET) }, f)
}

// Pinned tells whether a namespace is bound at path.
func Pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && int64(st.Type) == unix.NSFS_MAGIC
}

// Remove unpins path; what is not there is no error. The namespace itself goes
// with the last process and socket in it.
func Remove(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		err = nil // not a mount point, not there
	}
	rerr := os.Remove(path)
	if errors.Is(rerr, os.ErrNotExist) {
		rerr = nil
	}
	if err := errors.Join(err, rerr); err != nil {
		return fmt.Errorf("unpin network namespace %q: %w", path, err)
	}
	return nil
}

// onThread runs enter and f on a thread of their own and brings the thread
// back. One that cannot be brought back is thrown away: a goroutine that ends
// while locked takes its thread with it.
func onThread(enter, f func() error) error {
	done := make(chan error, 1)
	go work(enter, f, done)
	return <-done
}

func work(enter, f func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be thrown away, and /proc/self speaks of it.
		// While it is held here, the work goes to another one.
		started := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(started)
			inside(enter, f, done)
		}()
		<-started
		runtime.UnlockOSThread()
		return
	}
	inside(enter, f, done)
}

func inside(enter, f func() error, done chan<- error) {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		done <- fmt.Errorf("own network namespace: %w", err)
		return
	}
	defer unix.Close(home)
	if err = enter(); err == nil {
		err = f()
	}
	if unix.Setns(home, unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	done <- err
}
