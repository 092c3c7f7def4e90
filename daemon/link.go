package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
)

// Names in the exec root: the socket, and the name for it by which Docker's
// clients look for one.
const (
	socketName = "gantry.sock"
	linkName   = "docker.sock"
)

// linked tells whether docker.sock in the exec root is to lead to our socket.
func (c *Config) linked() bool {
	served := map[string]bool{}
	for _, h := range c.hosts() {
		served[h] = true
	}
	return served["unix://"+filepath.Join(c.ExecRoot, socketName)] && !served["unix://"+filepath.Join(c.ExecRoot, linkName)]
}

// isLink tells whether docker.sock in dir is our link.
func isLink(dir string) bool {
	to, err := os.Readlink(filepath.Join(dir, linkName))
	return err == nil && to == socketName
}

// unlinkSocket removes docker.sock from dir if it is our link.
func unlinkSocket(dir string) error {
	if !isLink(dir) {
		return nil
	}
	if err := os.Remove(filepath.Join(dir, linkName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket: %w", err)
	}
	return nil
}

// linkSocket makes docker.sock in dir lead to our socket. What is no link is
// not ours to replace.
func linkSocket(dir string) error {
	path := filepath.Join(dir, linkName)
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("socket %q: something that is not the daemon's link is there, remove it: %w", path, errdefs.ErrAlreadyExists)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket %q: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket %q: %w", path, err)
	}
	if err := os.Symlink(socketName, tmp); err != nil {
		return fmt.Errorf("socket %q: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return multierror.Append(fmt.Errorf("socket %q: %w", path, err), os.Remove(tmp))
	}
	return nil
}
