package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// BuildStart plans the start of the containers that exist of the services and
// of what they depend on, in dependency order and with their conditions. p may
// be nil.
func BuildStart(name string, p *project.Project, s *State, o StartOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	v.known(o.Services)
	chosen := choose(v.g, o.Services, false)
	groups := make(map[string][]*Container)
	for i := range s.Containers {
		if c := &s.Containers[i]; !c.OneOff && chosen[c.Service] {
			groups[c.Service] = append(groups[c.Service], c)
		}
	}
	for _, service := range o.Services {
		if len(groups[service]) == 0 {
			v.refuse(project.Position{}, errdefs.ErrNotFound, "service %q has no container to start: create it with up", service)
		}
	}
	if len(groups) == 0 && len(o.Services) == 0 {
		v.refuse(project.Position{}, errdefs.ErrNotFound, "project %q has no container to start: create them with up", name)
	}
	m := &starting{verb: v, groups: groups, started: make(map[string]*node), waits: make(map[waitKey]*node)}
	m.decide()
	for _, service := range v.g.order { // dependencies first
		for _, c := range groups[service] {
			n := m.started[c.ID]
			for _, d := range v.g.deps[service] {
				m.await(n, service, d)
			}
			if o.Wait {
				m.waitFor(c, o.WaitTimeout)
			}
		}
	}
	return v.plan()
}

// starting is a start or restart in the making.
type starting struct {
	*verb
	groups  map[string][]*Container // by service
	started map[string]*node        // container ID to the step after which it runs
	waits   map[waitKey]*node
}

// decide drafts the starts: of all that do not run, but of a one-shot service
// that has completed only when one that waits for it starts, as with Build.
func (m *starting) decide() {
	for i := len(m.g.order) - 1; i >= 0; i-- { // dependants first
		service := m.g.order[i]
		awaited, due := m.awaited(service)
		for _, c := range m.groups[service] {
			start := StartContainer{ID: c.ID, Name: c.Name, Service: service}
			switch c.Status {
			case container.StateRunning:
				if n := m.owed(m.at(c, atStart), m.definition(service), c); n != nil {
					m.started[c.ID] = n
				}
			case container.StatePaused:
				m.started[c.ID] = m.add(m.at(c, atStart), UnpauseContainer{ID: c.ID, Name: c.Name, Service: service}, "paused")
			case container.StateCreated:
				m.started[c.ID] = m.add(m.at(c, atStart), start, "created, never started")
			case container.StateExited:
				if c.ExitCode == 0 && awaited && due == "" {
					continue
				}
				m.started[c.ID] = m.add(m.at(c, atStart), start, fmt.Sprintf("exited (%d)", c.ExitCode))
			}
		}
	}
}

func (m *starting) awaited(service string) (awaited bool, due string) {
	for _, dependant := range m.g.dependents[service] {
		if !slices.ContainsFunc(m.g.deps[dependant], func(d project.Dependency) bool {
			return d.Service == service && d.Condition == project.Completed
		}) || len(m.groups[dependant]) == 0 {
			continue
		}
		awaited = true
		for _, c := range m.groups[dependant] {
			if m.started[c.ID] != nil {
				return true, dependant
			}
		}
	}
	return awaited, ""
}

// await makes n wait until every container of a dependency has reached its
// condition.
func (m *starting) await(n *node, dependant string, d project.Dependency) {
	if n == nil {
		return
	}
	for _, c := range m.groups[d.Service] {
		step := m.started[c.ID]
		if d.Condition != project.Started && (step != nil || !reached(c, d.Condition)) {
			step = m.wait(c, d.Condition, "for "+dependant)
		}
		if d.Required {
			n.need(step)
			if step != nil {
				step.Optional = false
			}
		} else {
			n.after(step)
		}
	}
}

func (m *starting) wait(c *Container, cond project.Condition, cause string) *node {
	key := waitKey{c.ID, cond}
	n := m.waits[key]
	if n == nil {
		n = m.add(m.at(c, atWait), WaitContainer{ID: c.ID, Name: c.Name, Service: c.Service, Condition: cond}, cause)
		n.Optional = true // until somebody requires it
		n.need(m.started[c.ID])
		m.waits[key] = n
	} else if !strings.Contains(n.Cause+",", cause+",") {
		n.Cause += ", " + cause
	}
	return n
}

// waitFor is start --wait, for one container.
func (m *starting) waitFor(c *Container, timeout time.Duration) {
	cond := project.Started
	if h := c.Config.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] != "NONE" {
		cond = project.Healthy
	}
	if m.g.oneShot(c.Service) {
		cond = project.Completed
	}
	if m.started[c.ID] == nil && reached(c, cond) {
		return
	}
	n := m.wait(c, cond, "--wait")
	n.Optional = false
	a := n.Action.(WaitContainer)
	a.Timeout = timeout
	n.Action = a
}

// BuildStop plans the stop of the services' containers, dependants first. p
// may be nil.
func BuildStop(name string, p *project.Project, s *State, o StopOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	stops := make(map[string][]*node)
	for _, c := range v.containers(o.Services) {
		if runs(c) {
			n := v.add(v.downAt(c, atStop), StopContainer{ID: c.ID, Name: c.Name, Service: c.Service, Timeout: o.Timeout}, "stop")
			stops[c.Service] = append(stops[c.Service], n)
		}
	}
	v.g.stopBefore(stops, func(stop, earlier *node) { stop.after(earlier) })
	return v.plan()
}

// BuildRestart plans the restart of the services' containers, and of those
// that depend on them with restart: true, dependencies first and with their
// conditions. One that does not run is started. p may be nil.
func BuildRestart(name string, p *project.Project, s *State, o RestartOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	v.known(o.Services)
	names := o.Services
	if len(names) == 0 {
		names = v.g.order
	}
	chosen := reach(names, func(service string) []string {
		var above []string
		for _, dependant := range v.g.dependents[service] {
			if !o.NoDeps && slices.ContainsFunc(v.g.deps[dependant], func(d project.Dependency) bool { return d.Service == service && d.Restart }) {
				above = append(above, dependant)
			}
		}
		return above
	})
	m := &starting{verb: v, groups: make(map[string][]*Container), started: make(map[string]*node), waits: make(map[waitKey]*node)}
	for _, c := range v.containers(nil) {
		if !chosen[c.Service] {
			continue
		}
		m.groups[c.Service] = append(m.groups[c.Service], c)
		cause := "restart"
		if len(o.Services) > 0 && !slices.Contains(o.Services, c.Service) {
			cause = "depends_on: restart: true"
		}
		m.started[c.ID] = v.add(v.at(c, atStart), RestartContainer{ID: c.ID, Name: c.Name, Service: c.Service, Timeout: o.Timeout}, cause)
	}
	for _, service := range v.g.order {
		for _, c := range m.groups[service] {
			for _, d := range v.g.deps[service] {
				m.await(m.started[c.ID], service, d)
			}
		}
	}
	return v.plan()
}

// BuildKill plans a signal to the services' containers. p may be nil.
func BuildKill(name string, p *project.Project, s *State, o KillOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	for _, c := range v.containers(o.Services) {
		if !runs(c) || v.p != nil && !o.RemoveOrphans && len(o.Services) == 0 && !v.isOurs(c) {
			continue
		}
		v.add(v.at(c, atStop), KillContainer{ID: c.ID, Name: c.Name, Service: c.Service, Signal: o.Signal}, "kill")
	}
	return v.plan()
}

// BuildPause plans the freezing of the services' running containers. p may be
// nil.
func BuildPause(name string, p *project.Project, s *State, o PauseOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	for _, c := range v.containers(o.Services) {
		if c.Status == container.StateRunning {
			v.add(v.at(c, atStop), PauseContainer{ID: c.ID, Name: c.Name, Service: c.Service}, "pause")
		}
	}
	return v.plan()
}

// BuildUnpause plans the thawing of the services' paused containers. p may be
// nil.
func BuildUnpause(name string, p *project.Project, s *State, o PauseOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	for _, c := range v.containers(o.Services) {
		if c.Status == container.StatePaused {
			v.add(v.at(c, atStart), UnpauseContainer{ID: c.ID, Name: c.Name, Service: c.Service}, "unpause")
		}
	}
	return v.plan()
}

// BuildRemove plans `rm`: the removal of the services' stopped containers, and
// with Stop of those that run too. p may be nil.
func BuildRemove(name string, p *project.Project, s *State, o RemoveOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	going := slices.DeleteFunc(v.containers(o.Services), func(c *Container) bool { return runs(c) && !o.Stop })
	v.takeDown(going, "rm", o.Volumes, o.Timeout)
	return v.plan()
}

// BuildPull plans the pull of the services' images, with IncludeDeps of their
// dependencies' too.
func BuildPull(p *project.Project, s *State, o PullOptions) (*Plan, error) {
	v := newVerb(p.Name, p, s)
	v.known(o.Services)
	chosen := choose(v.g, o.Services, len(o.Services) > 0 && !o.IncludeDeps)
	steps := make(map[ImageQuery]*node)
	for i := range p.Services {
		svc := &p.Services[i]
		if !chosen[svc.Name] || svc.PullPolicy == project.PullNever || svc.Build != nil && o.IgnoreBuildable || svc.Build != nil && (!svc.ImageGiven || svc.PullPolicy == project.PullBuild) {
			continue
		}
		present := s.image(svc).ID != ""
		if o.Policy == project.PullMissing && present {
			continue
		}
		n := steps[imageKey(svc)]
		if n == nil {
			n = v.add(rank{groupImages, i}, PullImage{Ref: svc.Image, Platform: svc.Platform, Force: present}, "pull")
			n.Optional = o.IgnoreFailures || svc.Build != nil
			steps[imageKey(svc)] = n
		}
		a := n.Action.(PullImage)
		a.Services = append(a.Services, svc.Name)
		n.Action = a
	}
	return v.plan()
}
