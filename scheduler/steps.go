package scheduler

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"gantry/project"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// Places of a slot's steps in the plan's order.
const (
	atCreate = iota
	atStop
	atStart
	atWait
	atRemove
	atRename
)

// steps drafts every step, without edges.
func (b *up) steps() {
	for i, c := range b.orphans {
		r := rank{groupOrphans, i}
		stop := b.stop(rank{r[0], r[1], 0, atStop}, c, "orphan")
		b.remove(rank{r[0], r[1], 0, atRemove}, c, "orphan").need(stop)
	}
	for _, w := range b.order {
		b.pull(w)
	}
	for _, w := range b.order {
		b.mounted(w)
	}
	for i, name := range sorted(b.networks) {
		n := b.networks[name]
		cause := "new"
		if n.replaced {
			cause = "definition changed"
			n.remove = b.add(rank{groupNetworks, i, 0}, RemoveNetwork{Name: name, ID: n.now.ID}, cause)
			n.remove.Destroys = "network " + name
		}
		if !n.net.External && (n.now == nil || n.replaced) {
			n.create = b.add(rank{groupNetworks, i, 1}, CreateNetwork{Name: name, Create: n.net.Create}, cause)
			n.create.need(n.remove)
		}
	}
	for i, name := range sorted(b.volumes) {
		if v := b.volumes[name]; v.now == nil && !v.vol.External {
			v.create = b.add(rank{groupVolumes, i}, CreateVolume{
				Name: name, Driver: v.vol.Driver, DriverOpts: v.vol.DriverOpts, Labels: v.vol.Labels,
			}, "new")
		}
	}
	for _, w := range b.order {
		for _, t := range w.surplus {
			b.leave(w, t)
		}
		for _, t := range w.slots {
			b.take(w, t)
		}
	}
}

// leave drafts the end of containers that nothing takes the place of.
func (b *up) leave(w *work, t *slot) {
	for i, c := range t.old {
		at := func(what int) rank { return rank{groupServices, w.index, t.number, what*8 + i} }
		stop, remove := b.stop(at(atStop), c, t.cause), b.remove(at(atRemove), c, t.cause)
		remove.need(stop)
		if c == t.stays() {
			remove.OnlyIf = t.replaced.onlyIf
			if stop != nil {
				stop.OnlyIf = t.replaced.or(t.restarted).onlyIf
			}
			if t.unpause {
				stop.need(b.add(rank{groupServices, w.index, t.number, atCreate*8 + 1}, UnpauseContainer{ID: c.ID, Name: c.Name, Service: c.Service}, "paused"))
			}
		}
		if stop != nil {
			t.stops = append(t.stops, stop)
			w.stops = append(w.stops, stop)
		}
	}
}

// take drafts what brings a slot's container into its place:
// create → stop the old → start → remove the old → rename.
func (b *up) take(w *work, t *slot) {
	at := func(what int) rank { return rank{groupServices, w.index, t.number, what * 8} }
	name := t.name
	if t.keep == nil {
		if t.base != nil {
			name = replacementPrefix(t.base.ID) + name
		}
		t.create = b.add(at(atCreate), b.container(w, t, name), t.cause)
		t.create.OnlyIf = t.replaced.onlyIf
	} else {
		name = t.keep.Name
	}
	b.leave(w, t)
	if t.restart != "" && t.keep != nil {
		stop := b.stop(at(atStop), t.keep, t.restart)
		stop.OnlyIf = t.restarted.onlyIf
		t.stops, w.stops = append(t.stops, stop), append(w.stops, stop)
	}
	start := StartContainer{ID: t.id, Name: t.name, Service: w.svc.Name}
	switch {
	case b.o.NoStart || w.oneOff:
	case t.keep == nil:
		t.started = b.add(at(atStart), start, b.dependsOn(w))
		t.started.OnlyIf = t.began().onlyIf
	case t.restart != "" || t.start != "":
		t.started = b.add(at(atStart), start, t.restart+t.start)
		t.started.OnlyIf = t.began().onlyIf
	case t.unpause:
		t.started = b.add(at(atStart), UnpauseContainer{ID: t.id, Name: t.name, Service: w.svc.Name}, "paused")
	default:
		t.started = b.owed(at(atStart), w.svc, t.keep)
	}
	if name != t.name {
		rename := b.add(at(atRename), RenameContainer{ID: t.id, Service: w.svc.Name, From: name, To: t.name}, "its name is free")
		rename.need(t.create)
		if c := t.stays(); c == nil || c.Name == t.name { // else who stays needs its name
			rename.OnlyIf = t.replaced.onlyIf
		}
	}
}

// stop drafts the stop of a container, nil when it does not run.
func (b *up) stop(r rank, c *Container, cause string) *node {
	if !runs(c) {
		return nil
	}
	n := b.add(r, StopContainer{ID: c.ID, Name: c.Name, Service: c.Service, Timeout: b.o.Timeout}, cause)
	for _, p := range c.Ports {
		b.holding[p.Port] = append(b.holding[p.Port], holding{p, n})
	}
	return n
}

// remove drafts the removal of a container. Its anonymous volumes stay: the
// replacement has them, or they hold what somebody may still want.
func (b *up) remove(r rank, c *Container, cause string) *node {
	n := b.add(r, RemoveContainer{
		ID: c.ID, Name: c.Name, Service: c.Service,
		Force: c.Status == container.StateDead || c.Status == container.StateRemoving,
	}, cause)
	n.Destroys = "container " + c.Name
	b.leaving[c.ID] = n
	return n
}

// dependsOn says in words what a new container's start waits for.
func (b *up) dependsOn(w *work) string {
	var all []string
	for _, d := range w.svc.DependsOn {
		if b.work[d.Service] != nil {
			all = append(all, d.Service+": "+string(d.Condition))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "depends_on " + strings.Join(all, ", ")
}

// container is the new container of a slot.
func (b *up) container(w *work, t *slot, name string) CreateContainer {
	c := CreateContainer{
		ID: t.id, Name: name, Service: w.svc.Name, Number: t.number,
		Image: w.svc.Image, Platform: w.svc.Platform,
		Config: w.svc.Config, Host: w.svc.HostConfig, Files: w.svc.Files,
	}
	c.Config.Labels = maps.Clone(c.Config.Labels)
	if c.Config.Labels == nil {
		c.Config.Labels = make(map[string]string)
	}
	c.Config.Labels[project.LabelNumber] = strconv.Itoa(t.number)
	c.Config.Labels[project.LabelOneOff] = "False"
	if w.oneOff {
		c.Config.Labels[project.LabelOneOff] = "True"
	}
	if t.base != nil {
		c.Replaces = t.base.ID
		c.Config.Labels[project.LabelReplace] = t.base.ID
		if !b.o.RenewVolumes {
			c.Volumes = b.carryOver(w, t)
		}
	}
	c.Host.NetworkMode = container.NetworkMode(b.resolveMode(string(c.Host.NetworkMode)))
	c.Host.PidMode = container.PidMode(b.resolveMode(string(c.Host.PidMode)))
	c.Host.IpcMode = container.IpcMode(b.resolveMode(string(c.Host.IpcMode)))
	c.Host.VolumesFrom = b.volumesFrom(w.svc, b.resolveMode)
	c.Networks = slices.Clone(w.svc.Networks)
	for i := range c.Networks {
		a := &c.Networks[i]
		names := append(slices.Clone(a.Aliases), w.svc.Name)
		if !w.aliases {
			names = nil
		}
		names = append(names, t.name)
		slices.Sort(names)
		a.Aliases = slices.Compact(names)
	}
	return c
}

// carryOver is the anonymous volumes that a replacement takes over: those whose
// target is still an anonymous volume. What the image declares decides that
// too; the driver asks it when it is not here yet. What an interrupted
// replacement had taken over already comes before what the older ones have.
func (b *up) carryOver(w *work, t *slot) map[string]string {
	declared := make(map[string]bool)
	sure := !w.image.unsure()
	for _, target := range b.s.image(w.svc).Volumes {
		declared[target] = true
	}
	for target := range w.svc.Config.Volumes {
		declared[target] = true
	}
	fixed := make(map[string]bool)
	for _, m := range w.svc.HostConfig.Mounts {
		if m.Type == mount.TypeVolume && m.Source == "" {
			declared[m.Target] = true
		} else {
			fixed[m.Target] = true
		}
	}
	for target := range w.svc.HostConfig.Tmpfs {
		fixed[target] = true
	}
	var volumes map[string]string
	for _, c := range t.old { // newest first
		for target, name := range c.Anonymous {
			if _, have := volumes[target]; have || fixed[target] || sure && !declared[target] {
				continue
			}
			if volumes == nil {
				volumes = make(map[string]string)
			}
			volumes[target] = name
		}
	}
	return volumes
}
