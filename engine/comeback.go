package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
)

// recoverWait bounds how long a container waits, after a reboot, for one that
// it depends on; then it is started all the same.
const recoverWait = 5 * time.Minute

// Recover starts again what was running when an earlier daemon went away, has
// ended meanwhile, and has a policy that says so: after a reboot everything
// with a policy, in dependency order. What a person stopped stays stopped.
func (e *Engine) Recover(ctx context.Context) error {
	byProject := map[string][]string{}
	for _, c := range e.all() {
		c.mu.Lock()
		due := c.interrupted && c.run == nil && c.st.Status == container.StateRestarting
		name := c.rec.Config.Labels[labelProject]
		c.interrupted = false
		c.mu.Unlock()
		if due {
			byProject[name] = append(byProject[name], c.id)
		}
	}
	var names []string
	for name := range byProject {
		names = append(names, name)
	}
	slices.Sort(names)
	errs := make(chan error, len(names))
	for _, name := range names {
		go func() { errs <- e.comeBack(ctx, name, byProject[name]) }()
	}
	var all []error
	for range names {
		all = append(all, <-errs)
	}
	return errJoin(all...)
}

// comeBack starts the named containers of one project. What cannot be started
// is tried again, as policy does it.
func (e *Engine) comeBack(ctx context.Context, name string, ids []string) error {
	d := comingBack{Engine: e}
	if name != "" {
		unlock, err := e.LockProject(ctx, name, "recovery after a restart", nil)
		if err != nil {
			return err
		}
		defer unlock()
		d.wanted = e.projectWanted(name)
	}
	var observed []scheduler.Container
	for _, o := range e.observeContainers() {
		if o.Project == name {
			observed = append(observed, o)
		}
	}
	plan := comeBackPlan(name, observed, ids)
	log.G(ctx).Infof("starting %d containers of project %q again", len(ids), name)
	err := scheduler.Run(ctx, plan, d, scheduler.RunOptions{}, func(ev scheduler.Event) {
		if ev.Status == scheduler.StatusFailed {
			log.G(ctx).Warnf("project %q: %s %s: %s", name, ev.Verb, ev.Name, ev.Error)
		}
	})
	for _, id := range ids {
		if ctx.Err() != nil {
			break // the next daemon goes on
		}
		c, ferr := e.find(id)
		if ferr != nil {
			continue // removed meanwhile
		}
		if lerr := c.lock(ctx); lerr != nil {
			return errJoin(err, lerr)
		}
		if c.due() { // not started, because one that it needs could not be
			e.startFailed(c)
		}
		c.unlock()
	}
	return err
}

// comingBack carries the steps of a recovery out.
type comingBack struct {
	*Engine
	wanted <-chan struct{} // closed when somebody else wants the project; nil without one
}

// Apply starts only what still waits for it: a person may have stopped or
// started it meanwhile. It waits for health only while nobody else wants the
// project: those that wait were running before, too.
func (d comingBack) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	switch a := a.(type) {
	case scheduler.StartContainer:
		c, err := d.find(a.ID)
		if err != nil {
			return ignoreNotFound(err)
		}
		if err := c.lock(ctx); err != nil {
			return err
		}
		defer c.unlock()
		if !c.due() {
			return nil
		}
		if err = d.start(ctx, c); err != nil {
			d.startFailed(c)
		}
		return err
	case scheduler.WaitContainer:
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			select {
			case <-d.wanted:
				cancel()
			case <-ended:
			}
		}()
		return d.Engine.Apply(ctx, a, report)
	}
	return d.Engine.Apply(ctx, a, report)
}

// due tells whether a container is to be started again, and nobody has seen to it.
func (c *ctr) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run == nil && c.restart == nil && !c.gone && c.st.Status == container.StateRestarting
}

// comeBackPlan orders the starts of the containers named by ids as their
// depends_on labels say. A dependency that does not come up holds its
// dependants back only for a time: they were running before, too.
func comeBackPlan(name string, all []scheduler.Container, ids []string) *scheduler.Plan {
	p := &scheduler.Plan{Project: name}
	starting := set(ids)
	order := comeBackOrder(all, starting)
	started, waits := map[string]int{}, map[string]int{} // container, and container with condition, to step
	add := func(s scheduler.Step) int {
		s.ID = len(p.Steps)
		p.Steps = append(p.Steps, s)
		return s.ID
	}
	for _, c := range order {
		s := scheduler.Step{Action: scheduler.StartContainer{ID: c.ID, Name: c.Name, Service: c.Service}, Cause: "it was running before"}
		for _, d := range scheduler.ParseDependsOn(c.DependsOn) {
			for _, o := range all {
				if o.Service != d.Service || o.OneOff || o.ID == c.ID {
					continue
				}
				if step, ok := started[o.ID]; ok {
					s.Needs, s.Tolerate = append(s.Needs, step), append(s.Tolerate, step)
				}
				running := starting[o.ID] || o.Status == container.StateRunning
				if d.Condition != project.Healthy || !running {
					continue
				}
				key := o.ID
				step, ok := waits[key]
				if !ok {
					w := scheduler.Step{Action: scheduler.WaitContainer{ID: o.ID, Name: o.Name, Service: o.Service, Condition: d.Condition, Timeout: recoverWait},
						Cause: fmt.Sprintf("depends_on %s: %s", d.Service, d.Condition), Optional: true}
					if at, ok := started[o.ID]; ok {
						w.Needs = []int{at}
					}
					step = add(w)
					waits[key] = step
				}
				s.Needs, s.Tolerate = append(s.Needs, step), append(s.Tolerate, step)
			}
		}
		for _, owner := range joined(c) {
			if step, ok := started[owner]; ok {
				s.Needs = append(s.Needs, step)
			}
		}
		slices.Sort(s.Needs)
		s.Needs = slices.Compact(s.Needs)
		started[c.ID] = add(s)
	}
	return p
}

// comeBackOrder sorts the containers to start so that each comes after those
// that it depends on. A cycle, which no loaded project has, ends where it
// would close.
func comeBackOrder(all []scheduler.Container, starting map[string]bool) []scheduler.Container {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b scheduler.Container) int {
		return strings.Compare(a.Service+"\x00"+a.Name, b.Service+"\x00"+b.Name)
	})
	var out []scheduler.Container
	seen := map[string]bool{}
	var visit func(c scheduler.Container)
	visit = func(c scheduler.Container) {
		if seen[c.ID] {
			return
		}
		seen[c.ID] = true
		for _, d := range scheduler.ParseDependsOn(c.DependsOn) {
			for _, o := range sorted {
				if o.Service == d.Service && !o.OneOff {
					visit(o)
				}
			}
		}
		for _, owner := range joined(c) {
			for _, o := range sorted {
				if o.ID == owner {
					visit(o)
				}
			}
		}
		if starting[c.ID] {
			out = append(out, c)
		}
	}
	for _, c := range sorted {
		visit(c)
	}
	return out
}

// joined are the IDs of containers whose namespaces a container joins.
func joined(c scheduler.Container) []string {
	var out []string
	for _, mode := range []string{c.NetworkMode, c.PidMode, c.IpcMode} {
		if id, ok := strings.CutPrefix(mode, "container:"); ok {
			out = append(out, id)
		}
	}
	return out
}
