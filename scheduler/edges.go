package scheduler

import (
	"slices"
	"strings"

	"gantry/project"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// waitKey is what a wait step waits for: one step serves all who wait for it.
type waitKey struct {
	id   string
	cond project.Condition
}

// edges connects the steps. What a step waits for, beside the order within a
// place (create → stop → start → remove → rename):
//
//	create   the image, networks and volumes it uses; the container whose
//	         namespace it shares; whoever has its name
//	start    its networks; the conditions of depends_on, for every container of the dependency;
//	         whoever has its host ports
//	stop     the creation of the replacement, the replacements of what it depends
//	         on, and the stops of its dependants
//
// There are no cycles: stops wait for creations, conditions and stops of
// services above, starts for stops and conditions below. The two exceptions
// are taken care of by `early` and by `calm`.
func (b *up) edges() {
	b.findEarly()
	for _, w := range b.order {
		for _, t := range w.slots {
			b.createNeeds(w, t)
			b.startNeeds(w, t)
			b.stopNeeds(w, t)
		}
	}
	stops := make(map[string][]*node, len(b.work))
	for name, w := range b.work {
		stops[name] = w.stops
	}
	b.g.stopBefore(stops, func(stop, earlier *node) { stop.need(earlier) })
	for _, n := range b.nodes {
		switch a := n.Action.(type) {
		case RemoveNetwork:
			b.networkNeeds(n, a)
		case RenameContainer:
			b.renameNeeds(n, a)
		}
	}
	if b.o.Wait && !b.o.NoStart {
		b.waitForAll()
	}
	for _, n := range b.nodes {
		for _, c := range n.OnlyIf {
			n.need(b.images[ImageQuery{Ref: c.Ref, Platform: c.Platform}])
		}
	}
}

func (b *up) createNeeds(w *work, t *slot) {
	if t.create == nil {
		return
	}
	t.create.need(b.images[imageKey(w.svc)])
	for _, a := range w.svc.Networks {
		if n := b.networks[a.Name]; n != nil {
			t.create.need(n.create)
		}
	}
	for _, m := range w.svc.HostConfig.Mounts {
		switch {
		case m.Type == mount.TypeVolume && b.volumes[m.Source] != nil:
			t.create.need(b.volumes[m.Source].create)
		case m.Type == mount.TypeImage:
			t.create.need(b.images[ImageQuery{Ref: m.Source}])
		}
	}
	for _, mode := range owners(w.svc) {
		if name, ok := strings.CutPrefix(mode, "service:"); ok && b.work[name] != nil {
			t.create.need(b.work[name].slots[0].create)
		}
	}
	if t.base == nil {
		b.nameFree(t.create, t.name)
	}
	if w.oneOff {
		// It is started outside the plan, so its conditions come before it.
		for _, d := range w.svc.DependsOn {
			b.awaitCondition(t.create, w, d)
		}
	}
}

// nameFree makes n wait until nobody has the name.
func (b *up) nameFree(n *node, name string) {
	c, taken := b.holder(name)
	if !taken {
		return
	}
	n.need(b.leaving[c.ID])
	for _, other := range b.nodes {
		if a, ok := other.Action.(RenameContainer); ok && a.ID == c.ID && a.From == name {
			n.need(other)
		}
	}
}

func (b *up) startNeeds(w *work, t *slot) {
	if t.started == nil {
		return
	}
	t.started.need(t.create)
	t.started.need(t.stops...)
	for _, a := range w.svc.Networks {
		if n := b.networks[a.Name]; n != nil {
			t.started.need(n.create) // one that stopped gets its place anew
		}
	}
	for _, d := range w.svc.DependsOn {
		b.awaitCondition(t.started, w, d)
	}
	for _, h := range b.portHolders(w) {
		t.started.need(h)
	}
}

// portHolders are the stops of containers that have host ports which w wants.
func (b *up) portHolders(w *work) []*node {
	var stops []*node
	for _, p := range fixedPorts(w.svc) {
		for _, h := range b.holding[p.Port] {
			if overlap(p, h.port) {
				stops = append(stops, h.stop)
			}
		}
	}
	return stops
}

// holding is a host port that a container has until it stops.
type holding struct {
	port HostPort
	stop *node
}

func (b *up) stopNeeds(w *work, t *slot) {
	for _, stop := range t.stops {
		if w.early {
			continue
		}
		stop.need(t.create)
		for _, d := range w.svc.DependsOn {
			dep := b.work[d.Service]
			if dep == nil {
				continue
			}
			for _, s := range dep.slots {
				stop.need(s.create) // what fails to be made takes nothing down
			}
			if b.calm(d.Service) {
				b.awaitCondition(stop, w, d) // the old one serves until the new one can start
			}
		}
	}
	for _, c := range t.old {
		b.leaving[c.ID].need(t.create, t.started)
	}
}

// calm says that nothing stops, or waits for a stop, below a service or in it:
// only then may a stop wait for its condition.
func (b *up) calm(name string) bool {
	if known, ok := b.calmly[name]; ok {
		return known
	}
	b.calmly[name] = b.findCalm(name)
	return b.calmly[name]
}

func (b *up) findCalm(name string) bool {
	for below := range b.g.closure([]string{name}) {
		if w := b.work[below]; w != nil && (len(w.stops) > 0 || len(b.portHolders(w)) > 0 || b.onReplaced(w)) {
			return false
		}
	}
	return true
}

// onReplaced says that w is on a network that is made anew.
func (b *up) onReplaced(w *work) bool {
	return slices.ContainsFunc(w.svc.Networks, func(a project.Attachment) bool {
		n := b.networks[a.Name]
		return n != nil && n.replaced
	})
}

// findEarly marks the services whose containers have to stop before new ones
// can be created, because a network of theirs is made anew, and the services
// above them, which stop before them.
func (b *up) findEarly() {
	for _, w := range b.order {
		w.early = b.onReplaced(w) || slices.ContainsFunc(slices.Concat(w.slots, w.surplus), func(t *slot) bool {
			return slices.ContainsFunc(t.old, func(c *Container) bool {
				for name := range c.Networks {
					if n := b.networks[name]; n != nil && n.replaced {
						return true
					}
				}
				return false
			})
		})
	}
	for _, w := range b.order { // dependencies first
		for _, d := range b.g.deps[w.svc.Name] {
			if dep := b.work[d.Service]; dep != nil && dep.early {
				w.early = true
			}
		}
	}
}

// networkNeeds makes a network's removal wait until nothing on it runs.
func (b *up) networkNeeds(n *node, a RemoveNetwork) {
	for _, other := range b.nodes {
		if stop, ok := other.Action.(StopContainer); ok {
			if _, on := b.mine[stop.ID].Networks[a.Name]; on {
				n.need(other)
			}
		}
	}
}

// renameNeeds makes a rename wait for the name, and for the end of all that
// was in the place.
func (b *up) renameNeeds(n *node, a RenameContainer) {
	b.nameFree(n, a.To)
	for _, t := range b.work[a.Service].slots {
		if t.id != a.ID {
			continue
		}
		n.need(t.started)
		for _, c := range t.old {
			n.need(b.leaving[c.ID])
		}
	}
}

// awaitCondition makes n wait until every container of a dependency has
// reached its condition.
func (b *up) awaitCondition(n *node, dependant *work, d project.Dependency) {
	w := b.work[d.Service]
	if w == nil || b.o.NoStart {
		return
	}
	for _, t := range w.slots {
		reached := b.condition(w, t, d.Condition, "for "+dependant.svc.Name)
		if d.Required {
			n.need(reached)
			if reached != nil {
				reached.Optional = false
			}
		} else {
			n.after(reached)
		}
	}
}

// condition is the step after which a slot's container has reached a
// condition, nil when it has reached it already and is not touched.
func (b *up) condition(w *work, t *slot, cond project.Condition, cause string) *node {
	if cond == project.Started {
		return t.started
	}
	if t.started == nil && t.keep != nil && reached(t.keep, cond) {
		return nil
	}
	return b.wait(w, t, cond, cause)
}

// reached says that an observed container has reached a condition.
func reached(c *Container, cond project.Condition) bool {
	switch cond {
	case project.Healthy:
		return c.Status == container.StateRunning && c.Health == container.Healthy
	case project.Completed:
		return c.Status == container.StateExited && c.ExitCode == 0
	}
	return c.Status == container.StateRunning && (c.Health == "" || c.Health == container.NoHealthcheck || c.Health == container.Healthy)
}

// wait is the one step that waits for a container's condition.
func (b *up) wait(w *work, t *slot, cond project.Condition, cause string) *node {
	key := waitKey{t.id, cond}
	n := b.waits[key]
	if n == nil {
		a := WaitContainer{ID: t.id, Name: t.name, Service: w.svc.Name, Condition: cond}
		if b.o.Wait {
			a.Timeout = b.o.WaitTimeout
		}
		n = b.add(rank{groupServices, w.index, t.number, atWait * 8}, a, cause)
		n.Optional = true // until somebody requires it
		n.need(t.started)
		if c := t.stays(); c != nil && t.started != nil && reached(c, cond) {
			n.OnlyIf = t.started.OnlyIf
		}
		b.waits[key] = n
	} else if !strings.Contains(n.Cause+",", cause+",") {
		n.Cause += ", " + cause
	}
	return n
}

// waitForAll waits for every container of the plan: until a one-shot service
// that others wait for has completed, until the others run and are healthy.
func (b *up) waitForAll() {
	for _, w := range b.order {
		cond := project.Started
		if has, _ := b.probed(w); has {
			cond = project.Healthy
		}
		if b.g.oneShot(w.svc.Name) {
			cond = project.Completed
		}
		for _, t := range w.slots {
			if t.started == nil && t.keep != nil && reached(t.keep, cond) {
				continue
			}
			n := b.wait(w, t, cond, "--wait")
			n.Optional = false
		}
	}
}
