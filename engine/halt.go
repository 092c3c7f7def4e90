package engine

import (
	"context"
	"maps"
	"slices"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
)

// Halt ends all containers because the host goes down: each by its own signal
// and within its own time, dependants before what they depend on. Nothing is
// started afterwards. What people wanted stays as it is: the next boot starts
// again what has a policy and was running.
func (e *Engine) Halt(ctx context.Context) error {
	e.halting.Store(true)
	plan := haltPlan(e.observeContainers())
	log.G(ctx).Infof("the host goes down: stopping %d containers", len(plan.Steps))
	return scheduler.Run(ctx, plan, halting{e}, scheduler.RunOptions{Workers: max(1, len(plan.Steps))}, nil)
}

// halting carries the steps out.
type halting struct{ *Engine }

func (h halting) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	stop, ok := a.(scheduler.StopContainer)
	if !ok {
		return h.Engine.Apply(ctx, a, report)
	}
	c, err := h.find(stop.ID)
	if err != nil {
		return ignoreNotFound(err)
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	return ignore(h.stop(ctx, c, StopOptions{}, toHalt), errdefs.IsNotModified)
}

// haltPlan orders the ends of all that runs. A dependant that does not end holds
// nothing back for good: it is killed when its time is over.
func haltPlan(all []scheduler.Container) *scheduler.Plan {
	p := &scheduler.Plan{}
	projects, alive := map[string][]scheduler.Container{}, map[string]bool{}
	for _, c := range all {
		projects[c.Project] = append(projects[c.Project], c)
		alive[c.ID] = c.Status == container.StateRunning || c.Status == container.StatePaused
	}
	for _, name := range slices.Sorted(maps.Keys(projects)) {
		order := comeBackOrder(projects[name], alive)
		slices.Reverse(order)
		for i, c := range order {
			s := scheduler.Step{ID: len(p.Steps), Action: scheduler.StopContainer{ID: c.ID, Name: c.Name, Service: c.Service}, Cause: "the host goes down"}
			for j, o := range order[:i] {
				if needs(o, c) {
					s.Needs = append(s.Needs, s.ID-i+j)
				}
			}
			s.Tolerate = slices.Clone(s.Needs)
			p.Steps = append(p.Steps, s)
		}
	}
	return p
}

// needs tells whether a container of a project depends on another one of it.
func needs(c, other scheduler.Container) bool {
	service := func(d project.Dependency) bool { return d.Service == other.Service && !other.OneOff }
	return slices.ContainsFunc(scheduler.ParseDependsOn(c.DependsOn), service) || slices.Contains(joined(c), other.ID)
}
