package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
)

// adopt takes over all containers that are there: those that run go on being
// supervised, the others get the end that they had.
func (e *Engine) adopt(ctx context.Context) error {
	list, err := e.rt.Containers(ctx)
	if err != nil {
		return err
	}
	tasks, err := e.rt.Tasks(ctx)
	if err != nil {
		return err
	}
	running := make(map[string]ctd.Task, len(tasks))
	for _, t := range tasks {
		running[t.ContainerID] = t
	}
	for _, item := range list {
		var rec record
		if err := json.Unmarshal(item.Record, &rec); err != nil || rec.ID != item.ID {
			log.G(ctx).Errorf("container %s has a record that cannot be read (%v); it is left alone", short(item.ID), err)
			continue
		}
		c := newCtr(rec, state{Status: container.StateCreated}, filepath.Join(e.cfg.DataRoot, "containers", rec.ID))
		if err := readJSON(filepath.Join(c.dir, "state.json"), &c.st); err != nil {
			c.st = lostState(&rec)
			log.G(ctx).WithError(err).Warnf("container %q has lost its state; it counts as %s", rec.Name, c.st.Status)
			if err := os.MkdirAll(c.dir, 0o710); err != nil {
				return err
			}
		}
		e.containers[rec.ID] = c
		e.names[rec.Name] = rec.ID
	}
	var ended []*ctr
	for _, c := range addressesFirst(e.all()) {
		t, ok := running[c.id]
		if ok && (t.Status == ctd.Running || t.Status == ctd.Paused) {
			e.adoptRunning(ctx, c, t)
			continue
		}
		if e.adoptEnded(ctx, c, t, ok) {
			ended = append(ended, c)
		}
	}
	for _, c := range ended { // who still uses a volume is known only now
		rec := c.record()
		if err := e.unmountVolumes(ctx, &rec); err != nil {
			log.G(ctx).WithError(err).Warnf("container %q has ended; its volumes stay mounted", rec.Name)
		}
	}
	return e.sweep(ctx)
}

// lostState is what a container counts as whose state cannot be read, as after a
// power cut. That a person stopped one with a restart policy was written for
// good, so it was running, or had just ended.
func lostState(rec *record) state {
	if rec.HostConfig.RestartPolicy.IsNone() {
		return state{Status: container.StateCreated}
	}
	return state{Status: container.StateRestarting, ExitCode: lostExit}
}

// lostExit is the exit code of a run whose end nobody saw.
const lostExit = 255

// adoptRunning goes on supervising a process that outlived its daemon.
func (e *Engine) adoptRunning(ctx context.Context, c *ctr, t ctd.Task) {
	rec := c.record()
	r := &run{pid: t.Pid, started: make(chan struct{}), ended: make(chan struct{})}
	close(r.started)
	c.mu.Lock()
	c.run = r
	if !c.st.alive() || c.st.StartedAt.IsZero() { // the daemon died between its start and the note of it
		c.st.StartedAt, c.st.Stopped, c.st.Error, c.st.ExitCode, c.st.OOMKilled, c.st.Health = time.Now(), false, "", 0, false, nil
	}
	c.st.Status, c.st.Pid = container.StateRunning, t.Pid
	if t.Status == ctd.Paused {
		c.st.Status = container.StatePaused
	}
	if newCheck(rec.Config.Healthcheck) != nil && c.st.Health == nil {
		c.st.Health = &container.Health{Status: container.Starting}
	}
	started := c.st.StartedAt
	err := c.saveLocked()
	c.mu.Unlock()
	if err == nil {
		err = errJoin(e.plug(ctx, c, &rec), e.mountVolumes(ctx, &rec))
	}
	if err != nil {
		log.G(ctx).WithError(err).Errorf("container %q runs, but taking it over was not complete", rec.Name)
	}
	e.net.SetLive(c.id, true)
	r.health = e.watchHealth(c, started)
}

// adoptEnded notes the end of a container that was running when its daemon
// last looked, and tells whether it was. One that its policy wants to run is
// between two runs until Recover starts it, also for a daemon after this one.
func (e *Engine) adoptEnded(ctx context.Context, c *ctr, t ctd.Task, hasTask bool) (ended bool) {
	was, policy := c.state(), c.record().HostConfig.RestartPolicy
	code, at := lostExit, time.Now() // nobody knows: the machine went down
	rec, rerr := e.rt.ExitRecord(c.id)
	known := rerr == nil
	switch {
	case known:
		code, at = rec.Code, rec.At
	case hasTask && t.Status == ctd.Stopped:
		code, at, known = t.Code, t.ExitedAt, true
	}
	err := errJoin(e.deleteTask(ctx, c.id), e.closePorts(ctx, c), e.holdAddresses(ctx, c), e.dropShm(c.id))
	ended = was.alive() || known && was.Status != container.StateExited && was.Status != container.StateRemoving
	var serr error
	if ended || was.Status == container.StateRestarting {
		c.mu.Lock()
		if ended {
			c.st.Pid, c.st.ExitCode, c.st.FinishedAt = 0, code, at
		}
		// one between two runs was to be started already
		c.interrupted = !ended && !c.st.Stopped && !policy.IsNone() || wantsRestart(policy, c.st.ExitCode, 0, c.st.Stopped)
		if c.st.Status = container.StateExited; c.interrupted {
			c.st.Status = container.StateRestarting
		}
		serr = c.saveLocked()
		c.mu.Unlock()
	}
	if serr == nil { // else it is what the next daemon knows the end from
		serr = e.rt.RemoveExitRecord(c.id)
	}
	if err = errJoin(err, serr); err != nil {
		log.G(ctx).WithError(err).Warnf("container %q has ended; cleaning up after it failed", c.name())
	}
	return ended
}

// sweep removes what belongs to no container: leaks of a daemon that was
// killed in the middle of making or removing one.
func (e *Engine) sweep(ctx context.Context) error {
	known := func(id string) bool { _, ok := e.containers[id]; return ok }
	dirs, err := os.ReadDir(filepath.Join(e.cfg.DataRoot, "containers"))
	if err != nil {
		return err
	}
	var errs []error
	for _, d := range dirs {
		if !known(d.Name()) {
			errs = append(errs, e.undoHalfMade(ctx, d.Name()))
		}
	}
	errs = append(errs, e.sweepBuilds(ctx), e.net.Sweep(ctx, known), e.sweepImageMounts(known), e.rt.Sweep(ctx, known))
	for _, c := range e.all() {
		st := c.state()
		switch {
		case st.Status == container.StateRemoving:
			errs = append(errs, e.erase(ctx, c, st.RemoveVolumes))
		case st.Status == container.StateExited && c.record().HostConfig.AutoRemove:
			errs = append(errs, e.erase(ctx, c, true))
		}
	}
	owned := map[string]bool{}
	for id, c := range e.containers {
		owned[e.socket(id)] = c.run != nil
	}
	socks, _ := filepath.Glob(filepath.Join(e.cfg.RunRoot, "io", "*.sock"))
	for _, s := range socks {
		if !owned[s] { // of execs, whose clients are gone with the daemon, and of ended containers
			if err := os.Remove(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	e.dropCgroups() // an earlier daemon may have been killed after its last container had gone
	if err := errJoin(errs...); err != nil {
		log.G(ctx).WithError(err).Warn("not everything that an earlier daemon left behind could be removed; the next start tries again")
	}
	return nil
}

// undoHalfMade removes the directory of a container that never came into
// being, or whose removal broke off, with the volumes made for it alone.
func (e *Engine) undoHalfMade(ctx context.Context, id string) error {
	dir := filepath.Join(e.cfg.DataRoot, "containers", id)
	var in intent
	err := readJSON(filepath.Join(dir, "intent.json"), &in)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.G(ctx).WithError(err).Warn("intent")
	}
	var errs []error
	users := e.volumeUsers()
	for _, v := range in.Volumes {
		if len(users[v]) > 0 { // another container has taken it over
			continue
		}
		errs = append(errs, ignoreNotFound(e.RemoveVolume(ctx, v, false)))
	}
	errs = append(errs, e.net.Release(ctx, id), e.dropShm(id))
	if err := errJoin(errs...); err != nil {
		return fmt.Errorf("half-made container %s: %w", short(id), err)
	}
	return os.RemoveAll(dir)
}
