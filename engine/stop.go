package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/sys/signal"
)

// killEnd bounds how long a process may take to be gone after SIGKILL.
const killEnd = 30 * time.Second

// defaultStop is how long a container may take to stop when nobody says.
const defaultStop = 10 * time.Second

// StopContainer asks a container to end and kills it when it does not. It stays
// stopped until somebody starts it. One that does not run is ErrNotModified.
func (e *Engine) StopContainer(ctx context.Context, ref string, opts StopOptions) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return e.stop(ctx, c, opts, forGood)
}

// ending is what a run is ended for.
type ending int

const (
	forGood   ending = iota // until somebody starts it
	toRestart               // to be started anew at once
	toHalt                  // because the host goes down; the next boot does what policy says
)

// stop ends the current run. The container's operation lock is held.
func (e *Engine) stop(ctx context.Context, c *ctr, opts StopOptions, why ending) error {
	rec := c.record()
	sig, err := stopSignal(opts.Signal, rec.Config.StopSignal)
	if err != nil {
		return fmt.Errorf("stop container %q: %w", rec.Name, err)
	}
	waiting := c.callOffRestart()
	c.mu.Lock()
	r, was := c.run, c.st.Status
	if r == nil && was == container.StateRestarting && why != toHalt {
		waiting, c.st.Status = true, container.StateExited
	}
	if why == forGood { // else a daemon that is killed in between starts it again
		c.st.Stopped = true
	}
	if r != nil {
		r.stopping, r.keep = r.stopping || why != toHalt, r.keep || why == toRestart
	}
	err = e.heedless(rec.Name, c.saveLocked())
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("stop container %q: %w", rec.Name, err)
	}
	if r == nil {
		if waiting {
			e.emitContainer(c, events.ActionStop, nil)
			return nil
		}
		return fmt.Errorf("container %q is not running: %w", rec.Name, errdefs.ErrNotModified)
	}
	calls := context.WithoutCancel(ctx) // what has begun is finished
	if was == container.StatePaused {
		if err := e.thaw(calls, c); err != nil { // a frozen process takes no signal
			return fmt.Errorf("stop container %q: %w", rec.Name, err)
		}
	}
	wait := stopTimeout(opts.Timeout, rec.Config.StopTimeout)
	if err := e.signal(calls, c, r, sig); err != nil {
		return fmt.Errorf("stop container %q: %w", rec.Name, err)
	}
	if wait != 0 {
		ended, err := e.awaitEnd(ctx, c, r, wait)
		if err != nil {
			return fmt.Errorf("stop container %q: %w", rec.Name, err)
		}
		if ended {
			e.emitContainer(c, events.ActionStop, nil)
			return nil
		}
	}
	if err := e.killAndWait(c, r); err != nil {
		return err
	}
	e.emitContainer(c, events.ActionStop, nil)
	return nil
}

// awaitEnd waits until the run is cleaned up, for a time that is negative when
// there is no end to it. The time belongs to the container: a client that
// leaves does not shorten it, nor does a daemon that stops.
func (e *Engine) awaitEnd(ctx context.Context, c *ctr, r *run, wait time.Duration) (ended bool, err error) {
	var end <-chan time.Time
	left := ctx.Done()
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		end, left = t.C, nil
	}
	select {
	case <-r.ended:
		return true, nil
	case <-end:
		return false, nil
	case <-left:
		return false, fmt.Errorf("it was asked to end and has not yet: %w", context.Cause(ctx))
	case <-e.ctx.Done():
		return false, fmt.Errorf("the daemon stops, and the container has not ended yet: %w", errdefs.ErrUnavailable)
	}
}

// resume lets frozen processes run on; it is fine if runc has thawed them in
// order to kill them, which the shim does not know.
func (e *Engine) resume(ctx context.Context, id string) error {
	err := e.rt.Resume(ctx, id)
	if err != nil && strings.Contains(err.Error(), "container not paused") {
		return nil
	}
	return err
}

// thaw lets a paused container run on; one whose process is gone is fine.
func (e *Engine) thaw(ctx context.Context, c *ctr) error {
	if err := e.resume(ctx, c.id); err != nil && e.frozen(ctx, c) {
		return fmt.Errorf("unpause: %w", err)
	}
	return e.heedless(c.name(), c.update(func(s *state) {
		if s.Status == container.StatePaused {
			s.Status = container.StateRunning
		}
	}))
}

// ended tells whether the runtime has no living process of the container. It is
// asked when a call has failed, which a shim that ends does in many ways.
func (e *Engine) ended(ctx context.Context, c *ctr) bool {
	t, err := e.rt.Task(context.WithoutCancel(ctx), c.id)
	// the kernel knows before the shim has collected the process
	return errdefs.IsNotFound(err) || err == nil && (t.Status == ctd.Stopped || finished(t.Pid))
}

// finished tells whether a process is gone or only waits to be collected.
// Source: proc_pid_stat(5).
func finished(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
	}
	_, rest, ok := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	return ok && rest != "" && strings.ContainsAny(rest[:1], "ZX")
}

// frozen tells whether the runtime holds the container's processes.
func (e *Engine) frozen(ctx context.Context, c *ctr) bool {
	t, err := e.rt.Task(ctx, c.id)
	return err == nil && t.Status == ctd.Paused
}

// killAndWait sends SIGKILL and waits until the run is cleaned up.
func (e *Engine) killAndWait(c *ctr, r *run) error {
	ctx, cancel := e.cleanupContext()
	defer cancel()
	if err := e.signal(ctx, c, r, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill container %q: %w", c.name(), err)
	}
	return r.awaitKilled(c.name())
}

// awaitKilled waits until a run that got SIGKILL is cleaned up.
func (r *run) awaitKilled(name string) error {
	t := time.NewTimer(killEnd)
	defer t.Stop()
	select {
	case <-r.ended:
		return nil
	case <-t.C:
		return fmt.Errorf("container %q does not end %v after SIGKILL: %w", name, killEnd, errdefs.ErrUnavailable)
	}
}

// signal sends a signal to the main process; one that has just ended is fine.
func (e *Engine) signal(ctx context.Context, c *ctr, r *run, sig syscall.Signal) error {
	err := e.rt.Kill(ctx, c.id, "", sig, false)
	if errdefs.IsNotFound(err) || err != nil && e.ended(ctx, c) {
		go e.expectExit(c, r)
		return nil
	}
	if err == nil {
		e.emitContainer(c, events.ActionKill, map[string]string{"signal": fmt.Sprint(int(sig))})
	}
	return err
}

// expectExit deals with the end of a process that is gone. The shim tells of it
// when the output is delivered; one that was killed does not.
func (e *Engine) expectExit(c *ctr, r *run) {
	t := time.NewTimer(exitTold)
	defer t.Stop()
	select {
	case <-r.ended:
	case <-e.ctx.Done():
	case <-t.C:
		e.exited(c, e.lastExit(c.id, r.pid))
	}
}

// exitTold is how long a process may be gone before the shim tells.
const exitTold = 3 * time.Second

// lastExit is what the shim wrote about a container's end. When there is
// nothing, its shim was killed, and all of its containers with it.
func (e *Engine) lastExit(id string, pid int) ctd.Exit {
	if x, err := e.rt.ExitRecord(id); err == nil && x.Pid == pid {
		return x
	}
	return ctd.Exit{ContainerID: id, Pid: pid, Code: 137, At: time.Now()}
}

// KillContainer sends a signal, SIGKILL when none is given. A container that
// was killed, with the signal that stops it or one that ends any process, is
// not started again by its policy.
func (e *Engine) KillContainer(ctx context.Context, ref, name string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	sig, err := stopSignal(name, "KILL")
	if err != nil {
		return err
	}
	rec := c.record()
	own, _ := stopSignal(rec.Config.StopSignal)
	final := sig == syscall.SIGKILL || sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == own
	c.mu.Lock()
	r, was := c.run, c.st.Status
	dead := r != nil && r.dead
	if final && r != nil {
		r.stopping, c.st.Stopped = true, true
		err = e.heedless(rec.Name, c.saveLocked())
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("kill container %q: %w", rec.Name, err)
	case final && dead:
		return r.awaitKilled(rec.Name)
	case final && r == nil && was == container.StateRestarting:
		return e.killWaiting(ctx, c)
	case dead || r == nil:
		return fmt.Errorf("cannot kill container: %s: container %s is not running: %w", ref, rec.ID, errdefs.ErrFailedPrecondition)
	}
	ctx = context.WithoutCancel(ctx)
	if err := e.signal(ctx, c, r, sig); err != nil {
		return fmt.Errorf("kill container %q: %w", rec.Name, err)
	}
	if sig != syscall.SIGKILL {
		return nil
	}
	if was == container.StatePaused { // on cgroup v1 a frozen process dies only when thawed
		if err := e.thaw(ctx, c); err != nil {
			log.G(ctx).WithError(err).Warnf("container %q was killed while paused", rec.Name)
		}
	}
	return r.awaitKilled(rec.Name)
}

// killWaiting ends the life of a container that waits for its policy's restart:
// there is no process to kill.
func (e *Engine) killWaiting(ctx context.Context, c *ctr) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	none := time.Duration(0)
	return e.stop(ctx, c, StopOptions{Timeout: &none}, forGood)
}

// RestartContainer stops a container, if it runs, and starts it.
func (e *Engine) RestartContainer(ctx context.Context, ref string, opts StopOptions) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if err := e.stop(ctx, c, opts, toRestart); err != nil && !errdefs.IsNotModified(err) {
		return err
	}
	c.mu.Lock()
	c.backOff, c.st.RestartCount = 0, 0
	c.mu.Unlock()
	if err := e.start(ctx, c); err != nil {
		return err
	}
	e.emitContainer(c, events.ActionRestart, nil)
	return nil
}

// PauseContainer freezes a container's processes.
func (e *Engine) PauseContainer(ctx context.Context, ref string) error {
	return e.freeze(ctx, ref, container.StateRunning, container.StatePaused, e.rt.Pause, events.ActionPause)
}

// UnpauseContainer thaws a container's processes.
func (e *Engine) UnpauseContainer(ctx context.Context, ref string) error {
	return e.freeze(ctx, ref, container.StatePaused, container.StateRunning, e.resume, events.ActionUnPause)
}

func (e *Engine) freeze(ctx context.Context, ref string, from, to container.ContainerState, do func(context.Context, string) error, action events.Action) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if _, err := c.current(); err != nil {
		return err
	}
	if s := c.state().Status; s != from {
		if from == container.StatePaused {
			return fmt.Errorf("Container %s is not paused: %w", c.id, errdefs.ErrConflict)
		}
		return fmt.Errorf("Container %s is already paused: %w", c.id, errdefs.ErrConflict)
	}
	if err := do(context.WithoutCancel(ctx), c.id); err != nil {
		if e.ended(ctx, c) {
			err = fmt.Errorf("it has just ended: %w", errdefs.ErrFailedPrecondition)
		}
		return fmt.Errorf("%s container %q: %w", action, c.name(), err)
	}
	err = c.update(func(s *state) {
		if s.Status == from {
			s.Status = to
		}
	})
	e.emitContainer(c, action, nil)
	return err
}

// stopSignal parses the first given name of a signal; SIGTERM when none is.
func stopSignal(names ...string) (syscall.Signal, error) {
	for _, n := range names {
		if n == "" {
			continue
		}
		s, err := signal.ParseSignal(n)
		if err != nil {
			return 0, fmt.Errorf("signal %q: %v: %w", n, err, errdefs.ErrInvalidArgument)
		}
		return s, nil
	}
	return syscall.SIGTERM, nil
}

// stopTimeout is how long to wait before SIGKILL; negative waits for ever.
func stopTimeout(asked *time.Duration, own *int) time.Duration {
	switch {
	case asked != nil:
		return *asked
	case own != nil:
		return time.Duration(*own) * time.Second
	}
	return defaultStop
}
