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

// comeBack starts the named containers of one project.
func (e *Engine) comeBack(ctx context.Context, name string, ids []string) error {
	if name != "" {
		unlock, err := e.LockProject(ctx, name, "recovery after a restart", nil)
		if err != nil {
			return err
		}
		defer unlock()
	}
	var observed []scheduler.Container
	for _, o := range e.observeContainers() {
		if o.Project == name {
			observed = append(observed, o)
		}
	}
	plan := comeBackPlan(name, observed, ids)
	log.G(ctx).Infof("starting %d containers of project %q again", len(ids), name)
	err := scheduler.Run(ctx, plan, e, scheduler.RunOptions{}, func(ev scheduler.Event) {
		if ev.Status == scheduler.StatusFailed {
			log.G(ctx).Warnf("project %q: %s %s: %s", name, ev.Verb, ev.Name, ev.Error)
		}
	})
	if ctx.Err() == nil { // else the next daemon goes on
		err = errJoin(err, e.settleRest(ctx, ids))
	}
	return err
}

// settleRest notes of the named containers that still wait to be started, which
// is because one that they need could not be, that nobody will.
func (e *Engine) settleRest(ctx context.Context, ids []string) error {
	var errs []error
	for _, id := range ids {
		c, err := e.find(id)
		if err != nil {
			continue // removed meanwhile
		}
		if err := c.lock(ctx); err != nil {
			return errJoin(append(errs, err)...)
		}
		c.mu.Lock()
		if c.run == nil && c.restart == nil && c.st.Status == container.StateRestarting {
			c.st.Status = container.StateExited
			errs = append(errs, c.saveLocked())
		}
		c.mu.Unlock()
		c.unlock()
	}
	return errJoin(errs...)
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
