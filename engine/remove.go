package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// RemoveContainer deletes a container with all that belongs to it; one that
// runs only when forced.
func (e *Engine) RemoveContainer(ctx context.Context, ref string, opts RemoveOptions) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	c.mu.Lock()
	busy := c.removal > 0
	c.mu.Unlock()
	if busy {
		return fmt.Errorf("removal of container %s is already in progress: %w", c.id, errdefs.ErrConflict)
	}
	return e.remove(ctx, c, opts)
}

// remove waits for a removal that is under way.
func (e *Engine) remove(ctx context.Context, c *ctr, opts RemoveOptions) error {
	if !opts.Force {
		if err := c.removable(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	r := c.run
	c.removal++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.removal--
		c.mu.Unlock()
	}()
	if r != nil && opts.Force {
		// before the lock: a stop that waits for the process gets it sooner
		if err := e.kill(c, r); err != nil {
			return err
		}
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if err := c.awaitDead(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	r, gone := c.run, c.gone
	c.mu.Unlock()
	if gone {
		return nil
	}
	if !opts.Force { // it may have been started meanwhile
		if err := c.removable(); err != nil {
			return err
		}
	}
	if r != nil {
		if err := e.kill(c, r); err != nil {
			return err
		}
	}
	c.callOffRestart()
	cctx, cancel := e.cleanupContext()
	defer cancel()
	return e.erase(cctx, c, opts.Volumes)
}

// removable refuses what is removed by force alone.
func (c *ctr) removable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.st.alive() && c.st.Status != container.StateRestarting {
		return nil
	}
	hint := "stop the container before removing or force remove"
	if c.st.Status == container.StatePaused {
		hint = "unpause and then " + hint
	}
	return fmt.Errorf("cannot remove container %q: container is %s: %s: %w", "/"+c.rec.Name, c.st.Status, hint, errdefs.ErrConflict)
}

// kill ends a run for good.
func (e *Engine) kill(c *ctr, r *run) error {
	c.mu.Lock()
	r.stopping = true
	paused := c.st.Status == container.StatePaused
	c.mu.Unlock()
	if paused {
		ctx, cancel := e.cleanupContext()
		defer cancel()
		if err := e.thaw(ctx, c); err != nil {
			return fmt.Errorf("remove container %q: %w", c.name(), err)
		}
	}
	return e.killAndWait(c, r)
}

// erase takes a container that does not run out of the world. Its state says
// so first: a crash in the middle is finished by the next daemon.
func (e *Engine) erase(ctx context.Context, c *ctr, withVolumes bool) error {
	rec := c.record()
	begin := func() error {
		if err := c.update(func(s *state) { s.Status, s.RemoveVolumes = container.StateRemoving, withVolumes }); err != nil {
			return err
		}
		return c.noteVolumes(&rec, withVolumes)
	}
	err := begin()
	if full(err) {
		if err = e.makeRoom(ctx, c); err == nil {
			err = e.heedless(rec.Name, begin())
		}
	}
	if err != nil {
		return fmt.Errorf("remove container %q: %w", rec.Name, err)
	}
	err = errJoin(
		e.deleteTask(ctx, c.id),
		e.net.Release(ctx, c.id),
		e.unmountVolumes(ctx, &rec),
		e.dropImages(ctx, &rec),
		e.dropShm(c.id),
		e.dropCgroup(c.id),
		e.rt.DeleteContainer(ctx, c.id),
	)
	if err != nil {
		return fmt.Errorf("remove container %q: %w", rec.Name, err)
	}
	e.mu.Lock()
	delete(e.containers, c.id)
	if e.names[rec.Name] == c.id {
		delete(e.names, rec.Name)
	}
	for id, x := range e.execs {
		if x.c == c {
			delete(e.execs, id)
		}
	}
	e.mu.Unlock()
	if withVolumes {
		users := e.volumeUsers()
		for i := range rec.Mounts {
			if m := &rec.Mounts[i]; m.Anonymous && len(users[m.Name]) == 0 {
				err = errJoin(err, ignoreNotFound(e.RemoveVolume(ctx, m.Name, false)))
			}
		}
	}
	c.mu.Lock()
	c.gone = true
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	c.dropPending(fmt.Errorf("container %q was removed: %w", rec.Name, errdefs.ErrNotFound))
	err = errJoin(err, os.RemoveAll(c.dir))
	e.dropCgroups()
	e.emitContainer(c, events.ActionDestroy, nil)
	if err != nil {
		return fmt.Errorf("remove container %q: %w", rec.Name, err)
	}
	return nil
}

// noteVolumes writes down which volumes go with the container, for a daemon
// that has to finish the removal when the container's record is gone.
func (c *ctr) noteVolumes(rec *record, withVolumes bool) error {
	path := filepath.Join(c.dir, "intent.json")
	if !withVolumes {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	var in intent
	for i := range rec.Mounts {
		if m := &rec.Mounts[i]; m.Anonymous {
			in.Volumes = append(in.Volumes, m.Name)
		}
	}
	return writeJSON(path, in)
}

// cgroupRoots are where cgroup hierarchies are mounted: one, or one for each
// controller.
var cgroupRoots = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"}

// dropCgroup removes what is left of a container's cgroups: runc does it with
// the task, unless that was killed together with its shim.
func (e *Engine) dropCgroup(id string) error {
	var errs []error
	for _, root := range cgroupRoots {
		dirs, err := filepath.Glob(filepath.Join(root, e.cgroupParent(), id))
		if err != nil {
			return err
		}
		for _, d := range dirs {
			errs = append(errs, removeTree(d))
		}
	}
	return errJoin(errs...)
}

// removeTree removes a cgroup and those below it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, entry := range entries {
		if entry.IsDir() {
			errs = append(errs, removeTree(filepath.Join(dir, entry.Name())))
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errJoin(errs...)
}

// dropCgroups removes the cgroup that held those of builds' steps, and the one
// that held the containers' when none is left. It does nothing while one is
// being made, or a step runs.
func (e *Engine) dropCgroups() {
	e.dropping.Lock() // each looks after the one before it: the last one sees that none is left
	defer e.dropping.Unlock()
	if !e.cgroups.TryLock() {
		return
	}
	defer e.cgroups.Unlock()
	e.mu.RLock()
	left := len(e.containers)
	e.mu.RUnlock()
	for _, root := range cgroupRoots {
		parents, err := filepath.Glob(filepath.Join(root, e.cgroupParent()))
		if err != nil {
			return
		}
		var dirs []string
		for _, d := range parents {
			dirs = append(dirs, filepath.Join(d, "buildkit"))
			if left == 0 {
				dirs = append(dirs, d)
			}
		}
		for _, d := range dirs {
			// one that is in use is refused, and goes with the last container
			if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
				log.G(e.ctx).WithError(err).Debug("cgroup")
			}
		}
	}
}

// cgroupParent is the cgroup below which this daemon's containers are.
func (e *Engine) cgroupParent() string {
	if e.cfg.Instance == "" {
		return "gantry"
	}
	return "gantry-" + e.cfg.Instance
}
