package scheduler

import (
	"slices"

	"gantry/project"

	"github.com/moby/moby/api/types/container"
)

// hooks adds the commands that services have run in their containers: after
// each start, before whatever waits for it, and before each stop, after
// whatever that waits for. Containers of one-offs and orphans have none. What
// a container that stays still owes is in the draft already, as its first hook:
// the others follow.
func (d *draft) hooks(p *project.Project, containers []Container) {
	if p == nil {
		return
	}
	services := make(map[string]*project.Service, len(p.Services))
	for i := range p.Services {
		services[p.Services[i].Name] = &p.Services[i]
	}
	oneOff := func(id string) bool {
		return slices.ContainsFunc(containers, func(c Container) bool { return c.ID == id && c.OneOff })
	}
	for _, n := range slices.Clone(d.nodes) {
		var target StartContainer
		var starts, stops bool
		switch a := n.Action.(type) {
		case StartContainer:
			target, starts = a, true
		case StopContainer:
			target, stops = StartContainer{ID: a.ID, Name: a.Name, Service: a.Service}, true
		case RestartContainer:
			target, starts, stops = StartContainer{ID: a.ID, Name: a.Name, Service: a.Service}, true, true
		case RunHook:
			target = StartContainer{ID: a.ID, Name: a.Name, Service: a.Service, Owes: a.Owes}
		default:
			continue
		}
		s := services[target.Service]
		if s == nil || oneOff(target.ID) {
			continue
		}
		if stops {
			d.before(n, target, s.PreStop)
		}
		if starts {
			n.owe(len(s.PostStart))
			d.behind(n, target, s.PostStart)
		} else if !stops {
			d.behind(n, target, s.PostStart[len(s.PostStart)-target.Owes:])
		}
	}
}

// owe has a start say how many hooks follow it.
func (n *node) owe(hooks int) {
	switch a := n.Action.(type) {
	case StartContainer:
		a.Owes = hooks
		n.Action = a
	case RestartContainer:
		a.Owes = hooks
		n.Action = a
	}
}

// owed drafts the first of the hooks that a running container owes, nil when
// it owes none.
func (d *draft) owed(r rank, s *project.Service, c *Container) *node {
	if s == nil || c.Status != container.StateRunning {
		return nil
	}
	owes := min(c.Owes, len(s.PostStart))
	if owes == 0 {
		return nil
	}
	return d.add(r, RunHook{
		ID: c.ID, Name: c.Name, Service: c.Service, When: project.PostStart,
		Hook: s.PostStart[len(s.PostStart)-owes], Owes: owes - 1,
	}, "not done when the container was started")
}

func (d *draft) hook(n *node, of StartContainer, when string, h project.Hook) *node {
	x := d.add(n.rank, RunHook{ID: of.ID, Name: of.Name, Service: of.Service, When: when, Hook: h}, when)
	x.OnlyIf, x.Optional = n.OnlyIf, n.Optional
	return x
}

// before has hooks run one after another, then n.
func (d *draft) before(n *node, of StartContainer, list []project.Hook) {
	needs := slices.Clone(n.needs)
	for _, h := range list {
		x := d.hook(n, of, project.PreStop, h)
		x.needs = slices.Clone(needs)
		needs = append(needs, edge{to: x})
		n.need(x)
	}
}

// behind has hooks run one after another once n is done, and before all that
// waits for n.
func (d *draft) behind(n *node, of StartContainer, list []project.Hook) {
	if len(list) == 0 {
		return
	}
	waiting := slices.Clone(d.nodes)
	last := n
	for i, h := range list {
		x := d.hook(n, of, project.PostStart, h)
		a := x.Action.(RunHook)
		a.Owes = len(list) - i - 1
		x.Action = a
		x.need(last)
		last = x
	}
	for _, m := range waiting {
		for i := range m.needs {
			if m.needs[i].to == n {
				m.needs[i].to = last
			}
		}
	}
}
