package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/coreos/go-systemd/v22/activation"
	"github.com/hashicorp/go-multierror"
)

// socketPathMax is what the kernel takes of a unix socket's path.
const socketPathMax = 107

// probeEnd bounds how long a socket that somebody may serve is tried.
const probeEnd = 2 * time.Second

// Listen opens what hosts name: unix:///path, tcp://127.0.0.1:port, or fd://
// for the sockets that systemd passed on. Unix sockets belong to root and
// group, when there is such a group, and nobody else may connect. It opens all
// or none.
func Listen(hosts []string, group string) (_ []net.Listener, err error) {
	var out []net.Listener
	defer func() {
		if err != nil {
			for _, l := range out {
				l.Close()
			}
		}
	}()
	for _, host := range hosts {
		scheme, address, ok := strings.Cut(host, "://")
		if !ok {
			return out, badRequest("host %q: want unix:///PATH, tcp://ADDRESS:PORT or fd://", host)
		}
		var opened []net.Listener
		switch scheme {
		case "unix":
			opened, err = one(listenUnix(address, group))
		case "tcp":
			opened, err = one(listenTCP(address))
		case "fd":
			opened, err = listenSystemd(address)
		default:
			err = badRequest("host %q: %q is none of unix, tcp and fd", host, scheme)
		}
		if err != nil {
			return out, err
		}
		out = append(out, opened...)
	}
	return out, nil
}

func one(l net.Listener, err error) ([]net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

func listenUnix(path, group string) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, badRequest("socket %q: give an absolute path", path)
	}
	if len(path) > socketPathMax {
		return nil, badRequest("socket %q: the path is longer than the %d bytes that a socket may have", path, socketPathMax)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("socket %q: %w", path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket %q: %w", path, err)
	}
	// until here root alone may connect, by the usual umask
	if err := allow(path, group); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket %q: %w", path, err)
	}
	return l, nil
}

// removeStale makes way for a socket where nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %q: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %q: something that is no socket is there: %w", path, errdefs.ErrAlreadyExists)
	}
	conn, err := net.DialTimeout("unix", path, probeEnd)
	if err == nil {
		conn.Close()
		return fmt.Errorf("socket %q: somebody answers there already, stop that daemon first: %w", path, errdefs.ErrAlreadyExists)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %q: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("socket %q: %w", path, err)
	}
	return nil
}

// allow lets the group connect, and root alone when there is no such group.
func allow(path, group string) error {
	gid := 0
	if group != "" {
		g, err := user.LookupGroup(group)
		if unknown := (user.UnknownGroupError)(""); err != nil && !errors.As(err, &unknown) {
			return err
		}
		if err == nil {
			if gid, err = strconv.Atoi(g.Gid); err != nil {
				return err
			}
		}
	}
	var errs *multierror.Error
	if err := os.Chown(path, 0, gid); err != nil && os.Geteuid() == 0 {
		errs = multierror.Append(errs, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		errs = multierror.Append(errs, err)
	}
	return errs.ErrorOrNil()
}

// listenTCP serves this machine only: whoever reaches the API is root.
func listenTCP(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, badRequest("host \"tcp://%s\": %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, badRequest("host \"tcp://%s\": without TLS only 127.0.0.1, [::1] and localhost may be listened on", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("host \"tcp://%s\": %w", address, err)
	}
	return l, nil
}

// listenSystemd takes the sockets over that systemd opened for us. Source:
// systemd.socket(5), sd_listen_fds(3).
func listenSystemd(address string) ([]net.Listener, error) {
	if address != "" && address != "*" {
		return nil, badRequest("host \"fd://%s\": only fd:// is understood, for all sockets of the unit", address)
	}
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	var out []net.Listener
	for _, l := range passed {
		if l != nil {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("host \"fd://\": systemd passed no socket on, start it from a socket unit: %w", errdefs.ErrFailedPrecondition)
	}
	return out, nil
}
