package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	ctd "gantry/containerd"
	"gantry/containerd/stdio"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// StartContainer starts a container that is not running. A running one is
// ErrNotModified.
func (e *Engine) StartContainer(ctx context.Context, ref string) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	if !c.st.alive() {
		c.backOff, c.st.RestartCount = 0, 0
	}
	c.mu.Unlock()
	err = unrunnable(e.start(ctx, c))
	c.mu.Lock()
	remove := err != nil && c.rec.HostConfig.AutoRemove && !c.st.alive() && !c.gone
	c.mu.Unlock()
	c.unlock()
	if remove {
		cctx, cancel := e.cleanupContext()
		defer cancel()
		err = errJoin(err, e.remove(cctx, c, RemoveOptions{Force: true, Volumes: true}))
	}
	return err
}

// start makes a run. The container's operation lock is held.
func (e *Engine) start(ctx context.Context, c *ctr) (err error) {
	if err := c.awaitDead(ctx); err != nil {
		return err
	}
	c.callOffRestart()
	rec, err := c.startable()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			e.net.SetLive(c.id, false) // what was not started keeps no address from others
			err = fmt.Errorf("start container %q: %w", rec.Name, err)
			c.dropPending(err)
			if uerr := c.update(func(s *state) {
				s.Status, s.Error, s.ExitCode = container.StateExited, err.Error(), startFailure(err)
				if s.StartedAt.IsZero() {
					s.Status = container.StateCreated
				}
			}); uerr != nil {
				log.G(ctx).WithError(uerr).Warn("state is not on disk")
			}
		}
	}()
	// the caller's impatience must not leave half a run behind
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()

	if err := e.plug(ctx, c, &rec); err != nil {
		return err
	}
	undo := func(err error) error {
		cctx, cancel := e.cleanupContext()
		defer cancel()
		return errJoin(err, e.deleteTask(cctx, c.id), e.unplug(cctx, c), e.unmountVolumes(cctx, &rec))
	}
	if err := e.mountVolumes(ctx, &rec); err != nil {
		return undo(err)
	}
	if err := e.joinNamespaces(ctx, &rec); err != nil {
		return undo(err)
	}
	io := newProcessIO(e.outputOf(c, &rec), rec.Config.OpenStdin, rec.Config.Tty)
	e.cgroups.RLock()
	pid, err := e.rt.CreateTask(ctx, ctd.TaskOptions{ContainerID: c.id, Stdin: io.stdin, Stdout: io.stdout, Stderr: io.stderr, Terminal: rec.Config.Tty})
	e.cgroups.RUnlock()
	if err != nil {
		return undo(err)
	}
	started := time.Now()
	r := &run{pid: pid, started: make(chan struct{}), ended: make(chan struct{})}
	// It counts as running before it does: a process that ends at once is still
	// to be cleaned up when StartTask returns, and nobody may start it again.
	c.mu.Lock()
	before := c.st
	c.run = r
	c.st.Status, c.st.Pid, c.st.StartedAt, c.st.Error, c.st.ExitCode = container.StateRunning, pid, started, "", 0
	c.st.OOMKilled, c.st.Stopped = false, false
	if c.st.Health = nil; newCheck(rec.Config.Healthcheck) != nil {
		c.st.Health = &container.Health{Status: container.Starting}
	}
	c.mu.Unlock()
	e.connectPending(ctx, c) // whoever comes from now on finds the run
	err = e.rt.StartTask(ctx, c.id)
	c.mu.Lock()
	if err != nil {
		c.run, c.st = nil, before
	}
	c.mu.Unlock()
	close(r.started)
	if err != nil {
		return undo(err)
	}
	e.supervise(c, r, started)
	return nil
}

// startable returns what is to be started, or why it is not.
func (c *ctr) startable() (record, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return c.rec, fmt.Errorf("No such container: %s: %w", c.rec.Name, errdefs.ErrNotFound)
	case c.st.Status == container.StateRemoving:
		return c.rec, fmt.Errorf("container is marked for removal and cannot be started: %w", errdefs.ErrConflict)
	case c.st.Status == container.StatePaused:
		return c.rec, fmt.Errorf("cannot start a paused container, try unpause instead: %w", errdefs.ErrConflict)
	case c.st.alive():
		return c.rec, fmt.Errorf("container %q is running already: %w", c.rec.Name, errdefs.ErrNotModified)
	}
	return c.rec, nil
}

// supervise tells of a run that has begun and looks after it, unless it has
// ended by now.
func (e *Engine) supervise(c *ctr, r *run, started time.Time) {
	c.mu.Lock()
	alive := c.run == r && !r.dead
	if err := c.saveLocked(); err != nil {
		log.G(e.ctx).WithError(err).Warnf("container %q: state is not on disk", c.rec.Name)
	}
	c.mu.Unlock()
	e.emitContainer(c, events.ActionStart, nil)
	if !alive {
		return
	}
	e.net.SetLive(c.id, true)
	m := e.watchHealth(c, started)
	c.mu.Lock()
	if alive = c.run == r && !r.dead; alive {
		r.health = m
	}
	c.mu.Unlock()
	if !alive { // it ended meanwhile
		e.net.SetLive(c.id, false)
		m.stop()
	}
}

// awaitDead waits until the run whose process is gone, if there is one, has
// been cleaned up.
func (c *ctr) awaitDead(ctx context.Context) error {
	c.mu.Lock()
	r := c.run
	dead := r != nil && r.dead
	c.mu.Unlock()
	if !dead {
		return nil
	}
	t := time.NewTimer(killEnd)
	defer t.Stop()
	select {
	case <-r.ended:
		return nil
	case <-t.C:
		return fmt.Errorf("container %q has ended, but is not cleaned up after %v: %w", c.name(), killEnd, errdefs.ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("container %q: waiting until its last run is cleaned up: %w", c.name(), context.Cause(ctx))
	}
}

// startTimeout bounds one start; runc takes tens of milliseconds, a loaded
// machine seconds.
const startTimeout = 2 * time.Minute

// Exit codes of what could not be started, as shells and Docker have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitNotStarted    = 128
)

// startFailure is the exit code of a container that could not be started.
func startFailure(err error) int {
	if err == nil {
		return 0
	}
	switch s := err.Error(); {
	case strings.Contains(s, "executable file not found"), strings.Contains(s, "no such file or directory"), strings.Contains(s, "not a directory"):
		return exitNotFound
	case strings.Contains(s, "permission denied"), strings.Contains(s, "is a directory"), errors.Is(err, syscall.EACCES):
		return exitNotExecutable
	}
	return exitNotStarted
}

// outputOf says where a container's output goes.
func (e *Engine) outputOf(c *ctr, rec *record) stdio.Config {
	out := stdio.Config{Socket: e.socket(c.id), CloseStdin: rec.Config.StdinOnce}
	if rec.HostConfig.LogConfig.Type != logNone {
		out.LogPath = c.logPath()
		out.MaxSize, out.MaxFile = logLimits(rec.HostConfig.LogConfig.Type, rec.HostConfig.LogConfig.Config)
		out.Attrs, _ = logAttrs(rec, rec.HostConfig.LogConfig.Config) // checked when it was created
	}
	return out
}

// deleteTask removes a container's process from the runtime; one that is not
// there is fine.
func (e *Engine) deleteTask(ctx context.Context, id string) error {
	_, _, err := e.rt.DeleteTask(ctx, id)
	return ignoreNotFound(err)
}
