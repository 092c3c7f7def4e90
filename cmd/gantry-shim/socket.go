package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// removeSockets returns what removes the shim's own sockets at its end. pkg/shim
// finds them by way of its working directory, the bundle of the container that
// started the shim, and that may be gone long before the shim.
func removeSockets() func(context.Context) error {
	var paths []string
	// The starting process hands over the service's, and one for debugging if asked for.
	for _, fd := range []int{3, 4} {
		listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || listens == 0 {
			continue
		}
		name, err := unix.Getsockname(fd)
		if u, ok := name.(*unix.SockaddrUnix); ok && err == nil && filepath.IsAbs(u.Name) {
			paths = append(paths, u.Name)
		}
	}
	return func(context.Context) error {
		var errs []error
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
}
