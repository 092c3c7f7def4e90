package engine

import (
	"context"
	"fmt"
	"syscall"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
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
	// a restart in waiting holds the lock only briefly; call it off first
	waiting := c.callOffRestart()
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return e.stop(ctx, c, opts, waiting)
}

// stop ends the current run. The container's operation lock is held.
func (e *Engine) stop(ctx context.Context, c *ctr, opts StopOptions, waiting bool) error {
	c.mu.Lock()
	rec, r, was := c.rec, c.run, c.st.Status
	if r == nil && was == container.StateRestarting {
		waiting, c.st.Status = true, container.StateExited
	}
	c.st.Stopped = true
	if r != nil {
		r.stopping = true
	}
	err := c.saveLocked()
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
	if was == container.StatePaused {
		// a frozen process takes no signal
		if err := e.rt.Resume(ctx, c.id); err != nil {
			return fmt.Errorf("stop container %q: unpause: %w", rec.Name, err)
		}
	}
	sig, err := stopSignal(opts.Signal, rec.Config.StopSignal)
	if err != nil {
		return fmt.Errorf("stop container %q: %w", rec.Name, err)
	}
	wait := stopTimeout(opts.Timeout, rec.Config.StopTimeout)
	if wait != 0 {
		if err := e.signal(ctx, c, r, sig); err != nil {
			return fmt.Errorf("stop container %q: %w", rec.Name, err)
		}
		var end <-chan time.Time
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			end = t.C
		}
		select {
		case <-r.ended:
			e.emitContainer(c, events.ActionStop, nil)
			return nil
		case <-end:
		case <-ctx.Done(): // nobody waits any more: the kill below still belongs to the stop
		}
	}
	if err := e.killAndWait(c, r); err != nil {
		return err
	}
	e.emitContainer(c, events.ActionStop, nil)
	return nil
}

// killAndWait sends SIGKILL and waits until the run is cleaned up.
func (e *Engine) killAndWait(c *ctr, r *run) error {
	ctx, cancel := e.cleanupContext()
	defer cancel()
	if err := e.signal(ctx, c, r, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill container %q: %w", c.name(), err)
	}
	select {
	case <-r.ended:
		return nil
	case <-time.After(killEnd):
		return fmt.Errorf("container %q does not end %v after SIGKILL: %w", c.name(), killEnd, errdefs.ErrUnavailable)
	}
}

// signal sends a signal to the main process; one that has just ended is fine.
func (e *Engine) signal(ctx context.Context, c *ctr, r *run, sig syscall.Signal) error {
	err := e.rt.Kill(ctx, c.id, "", sig, false)
	if errdefs.IsNotFound(err) {
		// the process is gone; its end is dealt with by whoever hears of it first
		go e.exited(c, e.lastExit(c.id, r.pid))
		return nil
	}
	if err == nil {
		e.emitContainer(c, events.ActionKill, map[string]string{"signal": fmt.Sprint(int(sig))})
	}
	return err
}

// lastExit is what the shim wrote about a container's end. When there is
// nothing, its shim was killed, and all of its containers with it.
func (e *Engine) lastExit(id string, pid int) ctd.Exit {
	if x, err := e.rt.ExitRecord(id); err == nil && x.Pid == pid {
		return x
	}
	return ctd.Exit{ContainerID: id, Pid: pid, Code: 137, At: time.Now()}
}

// KillContainer sends a signal, SIGKILL when none is given. A container that
// was killed is not started again by its policy.
func (e *Engine) KillContainer(ctx context.Context, ref, name string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	sig, err := stopSignal(name, "KILL")
	if err != nil {
		return err
	}
	r, err := c.current()
	if err != nil {
		return err
	}
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM || sig == syscall.SIGINT {
		c.mu.Lock()
		r.stopping, c.st.Stopped = true, true
		err := c.saveLocked()
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if sig == syscall.SIGKILL && c.state().Status == container.StatePaused {
		defer e.rt.Resume(ctx, c.id) // on cgroup v1 a frozen process dies only when thawed
	}
	if err := e.signal(ctx, c, r, sig); err != nil {
		return fmt.Errorf("kill container %q: %w", c.name(), err)
	}
	if sig == syscall.SIGKILL {
		select {
		case <-r.ended:
		case <-time.After(killEnd):
			return fmt.Errorf("container %q does not end %v after SIGKILL: %w", c.name(), killEnd, errdefs.ErrUnavailable)
		}
	}
	return nil
}

// RestartContainer stops a container, if it runs, and starts it.
func (e *Engine) RestartContainer(ctx context.Context, ref string, opts StopOptions) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	waiting := c.callOffRestart()
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	c.mu.Lock()
	if c.run != nil {
		c.run.keep = true
	}
	c.mu.Unlock()
	if err := e.stop(ctx, c, opts, waiting); err != nil && !errdefs.IsNotModified(err) {
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
	return e.freeze(ctx, ref, container.StatePaused, container.StateRunning, e.rt.Resume, events.ActionUnPause)
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
		return fmt.Errorf("container %q is %s, not %s: %w", c.name(), s, from, errdefs.ErrConflict)
	}
	if err := do(ctx, c.id); err != nil {
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
