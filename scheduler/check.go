package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// check finds what would make the plan fail, before anything is changed. Only
// what this plan creates or starts can be wrong: a stack that runs is up to
// date although its image or a bind's source is gone.
func (b *up) check() {
	for _, w := range b.order {
		creates := slices.ContainsFunc(w.slots, func(t *slot) bool { return t.keep == nil })
		begins := !b.o.NoStart && slices.ContainsFunc(w.slots, (*slot).begins)
		if creates {
			b.checkImage(w)
			b.checkModes(w)
			b.checkVolumesFrom(w)
			b.checkFiles(w)
			b.checkMounted(w)
		}
		b.checkNames(w)
		if creates || begins {
			b.checkBinds(w)
		}
		if begins {
			b.checkBusy(w)
		}
		b.checkDependencies(w)
	}
	b.checkSharedPorts()
}

func (b *up) checkImage(w *work) {
	if !w.image.absent || w.image.build != "" {
		return
	}
	image := b.s.image(w.svc)
	policy, _ := pullPolicy(w.svc, b.o.Pull)
	switch {
	case w.svc.Build != nil && !w.svc.ImageGiven:
		b.refuse(position(w.svc, "build"), errdefs.ErrNotFound,
			"service %q: image %q is not here and shall not be built: build it first", w.svc.Name, w.svc.Image)
	case policy == project.PullNever:
		b.refuse(position(w.svc, "image"), errdefs.ErrNotFound,
			"service %q: image %q is not here and the pull policy is never: load or pull it first", w.svc.Name, w.svc.Image)
	case image.Err != nil:
		b.refuse(position(w.svc, "image"), image.Err,
			"service %q: image %q is not here and cannot be pulled: %v", w.svc.Name, w.svc.Image, image.Err)
	}
}

// checkModes makes sure that the namespaces to share have an owner.
func (b *up) checkModes(w *work) {
	for i, mode := range modes(w.svc) {
		key := [3]string{"network_mode", "pid", "ipc"}[i]
		if name, ok := strings.CutPrefix(mode, "service:"); ok && b.resolveMode(mode) == mode {
			b.refuse(position(w.svc, key), errdefs.ErrFailedPrecondition,
				"service %q: %s: service %q has no container to share with", w.svc.Name, key, name)
		}
		if name, ok := strings.CutPrefix(mode, "container:"); ok {
			if _, found := b.s.Names[name]; !found {
				b.refuse(position(w.svc, key), errdefs.ErrNotFound,
					"service %q: %s: there is no container %q", w.svc.Name, key, name)
			}
		}
	}
}

// checkVolumesFrom makes sure that there is a container to take volumes from.
func (b *up) checkVolumesFrom(w *work) {
	for _, from := range b.volumesFrom(w.svc, b.resolveMode) {
		if owner, _ := cutMode(from); strings.HasPrefix(from, "service:") {
			b.refuse(position(w.svc, "volumes_from"), errdefs.ErrFailedPrecondition,
				"service %q: volumes_from: service %q has no container to take volumes from", w.svc.Name, strings.TrimPrefix(owner, "service:"))
		}
	}
}

// checkFiles makes sure that secrets and configs have what they hold.
func (b *up) checkFiles(w *work) {
	for _, f := range w.svc.Files {
		if f.Withheld {
			b.refuse(position(w.svc, f.Kind+"s"), errdefs.ErrFailedPrecondition,
				"service %q: the content of %s %q is not kept here: send the project's definition", w.svc.Name, f.Kind, f.Name)
		}
	}
}

// checkMounted makes sure that the images to mount can be had.
func (b *up) checkMounted(w *work) {
	for i, m := range w.svc.HostConfig.Mounts {
		if m.Type != mount.TypeImage || b.isBuilt(m.Source) {
			continue
		}
		if image := b.s.Images[m.Source]; image.ID == "" && image.Err != nil {
			b.refuse(position(w.svc, fmt.Sprintf("volumes.%d", i), "volumes"), image.Err,
				"service %q: image %q to mount is not here and cannot be pulled: %v", w.svc.Name, m.Source, image.Err)
		}
	}
}

// isBuilt says that this plan builds an image.
func (b *up) isBuilt(ref string) bool {
	return slices.ContainsFunc(b.order, func(w *work) bool { return w.svc.Image == ref && w.image.build != "" })
}

// checkNames makes sure that the names to be given are free, or become so in
// this plan.
func (b *up) checkNames(w *work) {
	for _, t := range w.slots {
		holder, taken := b.holder(t.name)
		if t.keep != nil && t.keep.Name == t.name || !taken || b.leaves(holder.ID) || b.renamed(holder.ID) {
			continue
		}
		b.refuse(position(w.svc, "container_name"), errdefs.ErrAlreadyExists,
			"service %q: the name %q is taken by a container of %s: remove or rename that one", w.svc.Name, t.name, owner(holder.Project))
	}
}

// holder is the container that has a name now.
func (b *up) holder(name string) (Container, bool) {
	if c, ok := b.s.Names[name]; ok {
		return c, true
	}
	for i := range b.s.Containers {
		if b.s.Containers[i].Name == name {
			return b.s.Containers[i], true
		}
	}
	return Container{}, false
}

// leaves says that this plan removes a container.
func (b *up) leaves(id string) bool {
	c := b.mine[id]
	if c == nil {
		return false
	}
	if slices.Contains(b.orphans, c) {
		return true
	}
	w := b.work[c.Service]
	return w != nil && slices.ContainsFunc(slices.Concat(w.slots, w.surplus), func(t *slot) bool { return slices.Contains(t.old, c) })
}

// renamed says that this plan gives a container another name.
func (b *up) renamed(id string) bool {
	c := b.mine[id]
	if c == nil || b.work[c.Service] == nil {
		return false
	}
	return slices.ContainsFunc(b.work[c.Service].slots, func(t *slot) bool { return t.keep == c && t.name != c.Name })
}

// fixedName refuses to give several containers one name.
func (b *up) fixedName(w *work, want int) {
	b.refuse(position(w.svc, "container_name"), errdefs.ErrInvalidArgument,
		"service %q: %d containers cannot all be named %q: remove container_name to scale", w.svc.Name, want, w.svc.ContainerName)
}

func (b *up) checkBinds(w *work) {
	for i, m := range w.svc.HostConfig.Mounts {
		if m.Type == mount.TypeBind && mustExist(m) && slices.Contains(b.s.Missing, m.Source) {
			b.refuse(position(w.svc, fmt.Sprintf("volumes.%d", i), "volumes"), errdefs.ErrNotFound,
				"service %q: bind source %q does not exist: create it, or set create_host_path: true", w.svc.Name, m.Source)
		}
	}
}

func (b *up) checkBusy(w *work) {
	for _, p := range fixedPorts(w.svc) {
		if by, busy := b.s.Busy[p]; busy {
			b.refuse(portPosition(w.svc, p), errdefs.ErrFailedPrecondition,
				"service %q: port %s is in use by %s: stop that, or publish another port", w.svc.Name, p, by)
			continue
		}
		for i := range b.s.Containers {
			c := &b.s.Containers[i]
			if !runs(c) || !slices.ContainsFunc(c.Ports, func(q HostPort) bool { return overlap(p, q) }) {
				continue
			}
			if c.Service == w.svc.Name && !c.OneOff && !w.oneOff || b.leaves(c.ID) {
				continue
			}
			b.refuse(portPosition(w.svc, p), errdefs.ErrFailedPrecondition,
				"service %q: port %s is in use by container %q of this project: stop that, or publish another port", w.svc.Name, p, c.Name)
		}
	}
}

// portPosition is where a published port is written.
func portPosition(svc *project.Service, p HostPort) project.Position {
	return position(svc, fmt.Sprintf("ports.%d/%s", p.Port, p.Protocol), "ports")
}

// checkSharedPorts refuses two containers of the plan with one host port.
func (b *up) checkSharedPorts() {
	type claim struct {
		w *work
		p HostPort
	}
	claims := make(map[uint16][]claim) // by port number
	for _, w := range b.order {
		ports := fixedPorts(w.svc)
		if len(ports) > 0 && len(w.slots) > 1 {
			b.refuse(portPosition(w.svc, ports[0]), errdefs.ErrInvalidArgument,
				"service %q: %d containers cannot all publish port %s: publish a range, or no fixed host port", w.svc.Name, len(w.slots), ports[0])
		}
		if len(w.slots) == 0 {
			continue
		}
		for _, p := range ports {
			for _, other := range claims[p.Port] {
				if other.w != w && overlap(p, other.p) {
					b.refuse(portPosition(w.svc, p), errdefs.ErrInvalidArgument,
						"service %q: port %s is published by service %q too", w.svc.Name, p, other.w.svc.Name)
				}
			}
			claims[p.Port] = append(claims[p.Port], claim{w, p})
		}
	}
}

// checkDependencies looks at the services that w waits for.
func (b *up) checkDependencies(w *work) {
	for _, d := range w.svc.DependsOn {
		dep := b.work[d.Service]
		_, known := b.g.place[d.Service]
		switch {
		case !known && d.Required && !b.o.NoDeps:
			b.refuse(position(w.svc, "depends_on."+d.Service, "depends_on"), errdefs.ErrNotFound,
				"service %q depends on %q, which is not there: enable its profile, or set required: false", w.svc.Name, d.Service)
		case !known && !d.Required:
			b.warn("service %q: its optional dependency %q is not there", w.svc.Name, d.Service)
		case dep == nil || d.Condition != project.Healthy:
		default:
			if probed, sure := b.probed(dep); sure && !probed && d.Required {
				b.refuse(position(w.svc, "depends_on."+d.Service, "depends_on"), errdefs.ErrFailedPrecondition,
					"service %q waits until %q is healthy, but that has no health check: give it one, or wait for service_started", w.svc.Name, d.Service)
			}
		}
	}
}

// probed says whether w's containers have a health check; sure is false when
// that depends on an image that is not here yet.
func (b *up) probed(w *work) (has, sure bool) {
	if h := w.svc.Config.Healthcheck; h != nil && len(h.Test) > 0 {
		return h.Test[0] != "NONE", true
	}
	if w.image.unsure() {
		for _, t := range w.slots {
			if t.keep == nil {
				return false, false
			}
			if t.keep.Health != "" && t.keep.Health != container.NoHealthcheck {
				return true, true
			}
		}
		return false, false
	}
	return b.s.image(w.svc).HasProbe, true
}
