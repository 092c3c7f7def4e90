package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	shimapi "github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"
)

// shimEnd is how long a shim may take to end, or to answer.
const shimEnd = 3 * time.Second

// shim is a running shim. Its process is held by a pidfd: containerd only
// knows its connection, and a shim that is still ending would remove the
// socket of the next one for the same container.
type shim struct {
	at   string // ttrpc+unix://path
	pid  int    // 0 when it does not answer
	fd   int    // -1 when it could not be opened: the process is gone
	keep bool   // the sockets are another containerd's
	log  *log.Entry
}

var _ process = (*shim)(nil)

func (s *shim) address() string { return s.at }
func (s *shim) process() int    { return s.pid }

func (s *shim) socket() string {
	_, path, _ := strings.Cut(s.at, "unix://")
	return path
}

func (s *shim) alive() bool {
	c, err := net.DialTimeout("unix", s.socket(), time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func (s *shim) release() {
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
}

func (s *shim) end() {
	if err := s.call(context.Background(), func(ctx context.Context, c taskapi.TTRPCTaskService) error {
		_, err := c.Shutdown(ctx, &taskapi.ShutdownRequest{Now: true})
		return err
	}); err != nil {
		s.log.WithError(err).Debugf("shim at %q was to end", s.at)
	}
	if s.fd >= 0 && !exited(s.fd, shimEnd) {
		// It holds a task that containerd does not know, of an interrupted creation.
		s.log.Warnf("shim at %q has no tasks but runs on, it is killed", s.at)
		if err := unix.PidfdSendSignal(s.fd, unix.SIGKILL, nil, 0); err == nil {
			exited(s.fd, shimEnd)
		}
	}
	s.release()
	if s.keep {
		return
	}
	if err := os.Remove(s.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.WithError(err).Warn("socket of an ended shim")
	}
}

// exited waits for the end of a process.
func exited(pidfd int, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		left := max(0, time.Until(deadline))
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if n > 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) || left == 0 {
			return false
		}
	}
}

// findShim takes hold of the shim at an address.
func (r *Runtime) findShim(ctx context.Context, address string) *shim {
	s := &shim{at: address, fd: -1, keep: r.server == nil, log: r.log}
	var err error
	if s.pid, err = s.ask(ctx); err == nil {
		s.fd, err = unix.PidfdOpen(s.pid, 0)
	}
	if err != nil {
		s.fd = -1
		r.log.WithError(err).Warnf("process of the shim at %q", address)
	}
	return s
}

// startedShim takes hold of the shim that a task's creation has started.
func (r *Runtime) startedShim(ctx context.Context, id string) process {
	address, err := r.shimAddress(id)
	if err != nil {
		r.log.WithError(err).Warn("other tasks of the group cannot join the shim")
		return nil
	}
	return r.findShim(ctx, address)
}

// ask asks a shim for its process.
func (s *shim) ask(ctx context.Context) (pid int, err error) {
	err = s.call(ctx, func(ctx context.Context, c taskapi.TTRPCTaskService) error {
		info, err := c.Connect(ctx, &taskapi.ConnectRequest{ID: "-"})
		pid = int(info.GetShimPid())
		return err
	})
	return pid, err
}

// call calls a shim by a connection of its own, not one that belongs to a task.
func (s *shim) call(ctx context.Context, f func(context.Context, taskapi.TTRPCTaskService) error) error {
	conn, err := net.DialTimeout("unix", s.socket(), time.Second)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, shimEnd)
	defer cancel()
	return errgrpc.ToNative(f(ctx, taskapi.NewTTRPCTaskClient(client)))
}

// dropShim removes the sockets of a shim that was started for a container and
// did not come to serve it: it has ended, and cannot find them itself when its
// bundle has gone before it.
func (r *Runtime) dropShim(ctx context.Context, id string) {
	if r.server == nil {
		return
	}
	for _, debug := range []bool{false, true} {
		address, err := shimapi.CreateSocketAddress(ctx, r.cfg.shimSockets(), r.cfg.socket(), id, debug)
		if err == nil {
			err = os.Remove(strings.TrimPrefix(address, "unix://"))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.WithError(err).Warnf("socket of the shim of container %q", id)
		}
	}
}

// sweepShims ends the shims that no known task lives in. One may have been
// starting when its daemon was killed: it answers nobody, so all of them are
// looked for among the processes.
func (r *Runtime) sweepShims() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	known := r.groups.pids()
	var errs *multierror.Error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || known[pid] {
			continue
		}
		// Its end is watched before it is looked at, so that it is not another's.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if isShim(strings.Split(string(cmdline), "\x00"), r.cfg.socket()) {
			// What it may still do is for nobody, and dies with it: its runc
			// is killed when the shim ends.
			err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			if err == nil && !exited(fd, shimEnd) {
				err = context.DeadlineExceeded
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				errs = multierror.Append(errs, fmt.Errorf("ending shim %d: %w", pid, err))
			}
		}
		unix.Close(fd)
	}
	return errs.ErrorOrNil()
}

// isShim recognises the command line of a shim, or of the starting of one, for
// the containerd at a socket. The one that cleans up after another is let be.
func isShim(args []string, socket string) bool {
	for i, a := range args {
		if a == "-address" && i+1 < len(args) && args[i+1] == socket {
			return !slices.Contains(args, "delete")
		}
	}
	return false
}

// sweepSockets removes the sockets of shims that are dead.
func (r *Runtime) sweepSockets() error {
	entries, err := os.ReadDir(r.cfg.shimSockets())
	if err != nil {
		return fmt.Errorf("shims' sockets: %w", err)
	}
	var errs *multierror.Error
	for _, e := range entries {
		s := &shim{at: "ttrpc+unix://" + filepath.Join(r.cfg.shimSockets(), e.Name())}
		if s.alive() {
			continue
		}
		if err := os.Remove(s.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = multierror.Append(errs, fmt.Errorf("socket of a dead shim: %w", err))
		}
	}
	return errs.ErrorOrNil()
}
