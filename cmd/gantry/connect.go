package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	engine "github.com/moby/moby/client"
)

const (
	defaultHost = "unix:///run/gantry/gantry.sock"
	dialTimeout = 10 * time.Second
)

// daemonHost says where the daemon is: the flag, then GANTRY_HOST, then, when
// called as docker, DOCKER_HOST, then the default socket.
func daemonHost(name, flag string, getenv func(string) string) string {
	host := firstOf(flag, getenv("GANTRY_HOST"))
	if strings.HasPrefix(name, "docker") {
		host = firstOf(host, getenv("DOCKER_HOST"))
	}
	return firstOf(host, defaultHost)
}

// connection is the way to the daemon. Nothing is dialled before it is needed,
// and nothing is asked before the first request.
type connection struct {
	host  func() string
	start func(ctx context.Context, socket string) error

	mu      sync.Mutex
	started bool
	failure error // of the last attempt
}

// address splits a host into network and address.
func address(host string) (network, addr string, err error) {
	network, addr, ok := strings.Cut(host, "://")
	switch {
	case !ok && strings.HasPrefix(host, "/"):
		return "unix", host, nil
	case ok && addr != "" && (network == "unix" || network == "tcp"):
		return network, addr, nil
	}
	return "", "", errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("daemon host %q: use unix:///PATH or tcp://HOST:PORT", host))
}

// dial connects, and starts the daemon when nobody answers on a local socket
// and we may.
func (c *connection) dial(ctx context.Context) (net.Conn, error) {
	var conn net.Conn
	network, addr, err := address(c.host())
	if err == nil {
		conn, err = c.reach(ctx, network, addr)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
	return conn, err
}

func (c *connection) reach(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, addr)
	switch {
	case err == nil:
		return conn, nil
	case !nobody(err) || network != "unix" || os.Geteuid() != 0:
		return nil, explainDial(c.host(), network, err)
	}
	if err := c.ensureDaemon(ctx, addr); err != nil {
		return nil, err
	}
	return dialer.DialContext(ctx, network, addr)
}

// ensureDaemon starts the daemon once, whoever asks.
func (c *connection) ensureDaemon(ctx context.Context, socket string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		return nil
	}
	if err := c.start(ctx, socket); err != nil {
		return err
	}
	c.started = true
	return nil
}

// failed is why the last attempt to connect failed.
func (c *connection) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

func nobody(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// explainDial says what to do.
func explainDial(host, network string, err error) error {
	switch {
	case network == "unix" && errors.Is(err, fs.ErrPermission):
		return errdefs.ErrPermissionDenied.WithMessage(fmt.Sprintf("no access to the daemon's socket %s: run this with sudo, or join its group (sudo usermod -aG gantry $USER, then log in again)", host))
	case network == "unix" && nobody(err):
		return errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("the daemon does not run (%s): start it with sudo gantry daemon, or run this with sudo", host))
	}
	return fmt.Errorf("cannot reach the daemon at %s: %w", host, err)
}

// engine is the client of the Engine API. The version is fixed, so that no
// request is spent on negotiating it.
func (c *cli) engine() (*engine.Client, error) {
	network, addr, err := address(c.conn.host())
	if err != nil {
		return nil, err
	}
	return engine.New(engine.WithHost(network+"://"+addr), engine.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.conn.dial(ctx)
	}), engine.WithAPIVersion(engine.MaxAPIVersion), engine.WithUserAgent("gantry/"+version))
}
