package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gantry/daemon"

	"github.com/containerd/errdefs"
)

const (
	daemonStart = 30 * time.Second // a daemon that does not answer by then is broken
	daemonLog   = "/var/log/gantry.log"
	daemonTail  = 10
)

// startDaemon starts the host's daemon in the background and waits until it
// answers on socket. Other daemons are started by who made them.
func startDaemon(ctx context.Context, socket string) error {
	cfg, err := daemon.Load(daemon.DefaultConfigFile, false)
	if err != nil {
		return err
	}
	if !cfg.Serves(socket) {
		if served := cfg.Sockets(); "unix://"+socket == defaultHost && len(served) > 0 {
			return errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("this host's daemon is configured to listen on %s rather than %s: set GANTRY_HOST=unix://%s, or add unix://%s to hosts in %s",
				strings.Join(served, ", "), socket, served[0], socket, daemon.DefaultConfigFile))
		}
		return errdefs.ErrUnavailable.WithMessage(fmt.Sprintf("nobody answers on %s, and it is not the socket of this host's daemon: start that daemon with gantry daemon --host unix://%s", socket, socket))
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o711); err != nil {
		return err
	}
	log, err := os.OpenFile(daemonLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("the daemon's log file: %w", err)
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "daemon")
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // our terminal's signals are not for it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	ctx, cancel := context.WithTimeout(ctx, daemonStart)
	defer cancel()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) && ctx.Err() == nil {
			return fmt.Errorf("the daemon was started, but its socket %s cannot be used: %w", socket, err)
		}
		select {
		case <-time.After(pause): // a socket file's appearance is not yet somebody who listens
		case err := <-ended:
			if other(ctx, socket) {
				return nil // somebody else started it at the same moment
			}
			return fmt.Errorf("the daemon ended at once (%v); its last words in %s:\n%s", err, daemonLog, lastWords(from))
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer on %s after %v; its last words in %s:\n%s: %w", socket, daemonStart, daemonLog, lastWords(from), errdefs.ErrUnavailable)
		}
	}
}

// neverStart is for what nobody has asked for: completion in a shell.
func neverStart(_ context.Context, socket string) error {
	return fmt.Errorf("the daemon does not run (unix://%s): %w", socket, errdefs.ErrUnavailable)
}

// other tells whether a daemon answers that another command has started.
func other(ctx context.Context, socket string) bool {
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// lastWords are the last lines that the daemon wrote since it was started.
func lastWords(from int64) string {
	f, err := os.Open(daemonLog)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-daemonTail):], "\n")
}
