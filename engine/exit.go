package engine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// dispatch hands the runtime's news to the containers, until the engine ends.
// Each container's end is dealt with on its own: none waits for another.
func (e *Engine) dispatch(exits <-chan ctd.Exit, ooms <-chan ctd.OOM) {
	for {
		select {
		case x, ok := <-exits:
			if !ok {
				return
			}
			if x.ExecID != "" {
				go e.execExited(x.ExecID, x.Code)
				continue
			}
			e.mu.RLock()
			c := e.containers[x.ContainerID]
			e.mu.RUnlock()
			if c != nil {
				e.work.Go(func() { e.exited(c, x) })
			}
		case x, ok := <-ooms:
			if !ok {
				ooms = nil
				continue
			}
			e.mu.RLock()
			c := e.containers[x.ContainerID]
			e.mu.RUnlock()
			if c != nil {
				c.mu.Lock()
				if c.run != nil {
					c.run.oom = true
				}
				c.mu.Unlock()
				e.emitContainer(c, events.ActionOOM, nil)
			}
		case <-e.ctx.Done():
			return
		}
	}
}

// exited deals with the end of a container's main process: everything of the
// run is cleaned up, then those who wait are told, then policy decides.
func (e *Engine) exited(c *ctr, x ctd.Exit) {
	code, at := x.Code, x.At
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r == nil || r.pid != x.Pid {
		return
	}
	// a process that ends at once must not be deleted while it is being started
	select {
	case <-r.started:
	case <-e.ctx.Done():
		return
	}
	c.mu.Lock()
	if c.run != r || r.dead {
		c.mu.Unlock()
		return
	}
	r.dead = true
	rec, m := c.rec, r.health
	name, policy := rec.Name, rec.HostConfig.RestartPolicy
	c.mu.Unlock()

	e.net.SetLive(c.id, false)
	m.stop()
	ctx, cancel := e.cleanupContext()
	defer cancel()
	if err := errJoin(e.deleteTask(ctx, c.id), e.unplug(ctx, c), e.unmountVolumes(ctx, &rec), e.dropShm(c.id)); err != nil {
		log.G(ctx).WithError(err).Warnf("container %q has ended; cleaning up after it failed, removing it tries again", name)
	}
	e.endExecs(c)

	c.mu.Lock()
	c.run = nil
	ran := at.Sub(c.st.StartedAt)
	verdict, halting := code, e.halting.Load()
	if halting {
		verdict = lostExit // it did not end by itself
	}
	// also when the daemon stops: the next one sees that a start is due
	again := wantsRestart(policy, verdict, c.st.RestartCount, r.stopping || c.st.Stopped) && !c.gone
	c.st.Status, c.st.Pid, c.st.ExitCode, c.st.FinishedAt, c.st.OOMKilled = container.StateExited, 0, code, at, r.oom || x.OOMKilled
	if again {
		c.st.Status = container.StateRestarting
	}
	c.last = runEnd{at: at, ran: ran, code: code}
	c.exits++
	if err := c.saveLocked(); err != nil {
		log.G(ctx).WithError(err).Warnf("container %q: state is not on disk", name)
	} else if err := e.rt.RemoveExitRecord(c.id); err != nil { // only now: it is what a crash before this is known from
		log.G(ctx).WithError(err).Warnf("container %q: exit record", name)
	}
	if again && !halting {
		c.backOff = nextBackOff(c.backOff, ran)
		e.scheduleRestart(c, c.backOff)
	}
	remove := c.rec.HostConfig.AutoRemove && !again && !r.keep
	c.mu.Unlock()
	e.emitContainer(c, events.ActionDie, map[string]string{"exitCode": strconv.Itoa(code), "execDuration": strconv.Itoa(int(ran.Seconds()))})
	close(r.ended)
	if remove {
		if err := e.remove(ctx, c, RemoveOptions{Force: true, Volumes: true}); ignoreNotFound(err) != nil {
			log.G(ctx).WithError(err).Warnf("container %q was to be removed at its end", name)
		}
	}
}

// scheduleRestart starts the container again after a wait, unless somebody
// calls it off. The container is locked.
func (e *Engine) scheduleRestart(c *ctr, wait time.Duration) {
	ctx, cancel := context.WithCancel(e.ctx)
	rs := &restarter{cancel: cancel, done: make(chan struct{})}
	c.restart = rs
	e.work.Go(func() {
		defer close(rs.done)
		defer cancel()
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if c.lock(ctx) != nil {
			return
		}
		defer c.unlock()
		c.mu.Lock()
		due := ctx.Err() == nil && !e.halting.Load() && c.st.Status == container.StateRestarting
		if due {
			c.restart = nil
			c.st.RestartCount++
		}
		c.mu.Unlock()
		if !due {
			return
		}
		if err := e.start(e.ctx, c); err != nil {
			log.G(ctx).WithError(err).Warn("restart by policy")
			e.startFailed(c)
		}
	})
}

// startFailed applies the policy to a start by policy that failed.
func (e *Engine) startFailed(c *ctr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.st.Status == container.StateRemoving {
		return
	}
	c.exits++
	c.last = runEnd{at: time.Now(), code: c.st.ExitCode}
	if !wantsRestart(c.rec.HostConfig.RestartPolicy, c.st.ExitCode, c.st.RestartCount, c.st.Stopped) {
		return
	}
	c.st.Status = container.StateRestarting
	if err := c.saveLocked(); err != nil {
		log.G(e.ctx).WithError(err).Warnf("container %q: state is not on disk", c.rec.Name)
	}
	c.backOff = nextBackOff(c.backOff, 0)
	e.scheduleRestart(c, c.backOff)
}

// callOffRestart cancels a restart that policy has scheduled, and tells whether
// there was one. The container's operation lock is held, so that the container
// is not left between two runs for good.
func (c *ctr) callOffRestart() bool {
	c.mu.Lock()
	rs := c.restart
	c.restart = nil
	c.mu.Unlock()
	if rs == nil {
		return false
	}
	rs.cancel()
	<-rs.done
	return true
}

// exitText is how a container's end is told to people.
func exitText(code int) string {
	if code > 128 && code < 160 {
		return fmt.Sprintf("exited with code %d (signal %d)", code, code-128)
	}
	return fmt.Sprintf("exited with code %d", code)
}
