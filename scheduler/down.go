package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// verb is a plan in the making that changes no definition: it works on the
// containers that exist. Their project may be unknown; then labels tell the
// dependencies.
type verb struct {
	draft
	problems
	name     string
	p        *project.Project // may be nil
	s        *State
	g        *graph
	warnings []string
}

func newVerb(name string, p *project.Project, s *State) *verb {
	deps := projectDeps(p)
	labelDeps(deps, s.Containers)
	v := &verb{name: name, p: p, s: s}
	v.g, _ = newGraph(deps) // labels of several generations may disagree; order is a service then, not a must
	return v
}

func (v *verb) plan() (*Plan, error) {
	if err := v.err(); err != nil {
		return nil, err
	}
	v.hooks(v.p, v.s.Containers)
	return v.draft.plan(v.name, v.warnings)
}

func (v *verb) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

// known refuses services that nobody has heard of.
func (v *verb) known(names []string) {
	for _, name := range names {
		if _, ok := v.g.place[name]; !ok {
			v.refuse(project.Position{}, errdefs.ErrNotFound, "no such service: %q", name)
		}
	}
}

// containers are those of the services, of all when none is named, without
// one-offs.
func (v *verb) containers(services []string) []*Container {
	v.known(services)
	var found []*Container
	for i := range v.s.Containers {
		c := &v.s.Containers[i]
		if !c.OneOff && (len(services) == 0 || slices.Contains(services, c.Service)) {
			found = append(found, c)
		}
	}
	return found
}

// at is the place of a container's step: dependencies first.
func (v *verb) at(c *Container, what int) rank {
	return rank{groupServices, v.g.place[c.Service], c.Number, what * 8}
}

// downAt is the place of a container's step when things are taken down:
// dependants first.
func (v *verb) downAt(c *Container, what int) rank {
	return rank{groupServices, -v.g.place[c.Service], c.Number, what * 8}
}

// BuildDown plans how the project goes: containers stop in reverse dependency
// order, are removed, then networks, then, if asked for, the project's own
// volumes and the images. p may be nil: then the project is what labels tell.
// What others use is left, with a warning. One service's failure to stop keeps
// none of the others.
func BuildDown(name string, p *project.Project, s *State, o DownOptions) (*Plan, error) {
	v := newVerb(name, p, s)
	v.known(o.Services)
	going := v.goingDown(o)
	removals := v.takeDown(going, "down", o.Volumes, o.Timeout)
	if len(o.Services) == 0 {
		v.networksDown(removals)
		if o.Volumes {
			v.volumesDown(removals)
		}
	}
	if o.Images != "" {
		v.imagesDown(o, going, removals)
	}
	return v.plan()
}

// takeDown drafts the stop of containers, dependants first, and their removal,
// which it returns by container ID; volumes: their anonymous ones go, too.
func (v *verb) takeDown(going []*Container, cause string, volumes bool, timeout *time.Duration) map[string]*node {
	removals := make(map[string]*node, len(going))
	stops := make(map[string][]*node)
	for _, c := range going {
		var stop *node
		if runs(c) {
			stop = v.add(v.downAt(c, atStop), StopContainer{ID: c.ID, Name: c.Name, Service: c.Service, Timeout: timeout}, cause)
			stops[c.Service] = append(stops[c.Service], stop)
		}
		remove := v.add(v.downAt(c, atRemove), RemoveContainer{
			ID: c.ID, Name: c.Name, Service: c.Service, Volumes: volumes,
			Force: c.Status == container.StateDead || c.Status == container.StateRemoving,
		}, cause)
		remove.Destroys = "container " + c.Name
		if volumes && len(c.Anonymous) > 0 {
			remove.Destroys += " and its anonymous volumes"
		}
		remove.need(stop)
		removals[c.ID] = remove
	}
	v.g.stopBefore(stops, func(stop, earlier *node) { stop.after(earlier) })
	return removals
}

// goingDown are the containers that `down` removes: one-offs too, and those of
// services that no active profile enables, but no orphans unless asked for.
func (v *verb) goingDown(o DownOptions) []*Container {
	var going []*Container
	var left []string
	for i := range v.s.Containers {
		c := &v.s.Containers[i]
		if len(o.Services) > 0 && !slices.Contains(o.Services, c.Service) {
			continue
		}
		if v.p != nil && len(o.Services) == 0 && !o.RemoveOrphans && !v.isOurs(c) {
			left = append(left, c.Name)
			continue
		}
		going = append(going, c)
	}
	if len(left) > 0 {
		slices.Sort(left)
		v.warn("containers of services that the project no longer has: %s (--remove-orphans removes them)", strings.Join(left, ", "))
	}
	return going
}

func (v *verb) isOurs(c *Container) bool {
	return slices.Contains(v.p.Disabled, c.Service) || v.definition(c.Service) != nil
}

// definition is a service's, nil when it is not known.
func (v *verb) definition(service string) *project.Service {
	if v.p == nil {
		return nil
	}
	s, _ := v.p.Service(service)
	return s
}

// networksDown removes the project's own networks.
func (v *verb) networksDown(removals map[string]*node) {
	for i, name := range sorted(v.s.Networks) {
		n := v.s.Networks[name]
		if n.Project != v.name || v.externalNetwork(name) {
			continue
		}
		if user := v.stays(n.Users, removals); user != "" {
			v.warn("network %q stays: container %s is on it", name, user)
			continue
		}
		step := v.add(rank{groupCleanup, 0, i}, RemoveNetwork{Name: name, ID: n.ID}, "down")
		step.Destroys = "network " + name
		for _, id := range n.Users {
			step.need(removals[id])
		}
	}
}

// volumesDown removes the project's own named volumes.
func (v *verb) volumesDown(removals map[string]*node) {
	for i, name := range sorted(v.s.Volumes) {
		vol := v.s.Volumes[name]
		if vol.Anonymous || v.externalVolume(name) {
			continue
		}
		if vol.Project != v.name {
			if v.declaresVolume(name) {
				v.warn("volume %q stays: it belongs to %s", name, owner(vol.Project))
			}
			continue
		}
		if user := v.stays(vol.Users, removals); user != "" {
			v.warn("volume %q stays: container %s uses it", name, user)
			continue
		}
		step := v.add(rank{groupCleanup, 1, i}, RemoveVolume{Name: name}, "down --volumes")
		step.Destroys = "volume " + name + " and its data"
		for _, id := range vol.Users {
			step.need(removals[id])
		}
	}
}

// imagesDown removes the images of what went, and of the project's services.
// That somebody else uses one is a warning.
func (v *verb) imagesDown(o DownOptions, going []*Container, removals map[string]*node) {
	refs := make(map[string]bool)
	local := make(map[string]bool)
	if v.p != nil {
		for i := range v.p.Services {
			svc := &v.p.Services[i]
			if len(o.Services) > 0 && !slices.Contains(o.Services, svc.Name) {
				continue
			}
			local[svc.Image] = svc.Build != nil && !svc.ImageGiven
			if v.s.image(svc).ID != "" {
				refs[svc.Image] = true
			}
		}
	}
	for _, c := range going {
		if c.ImageRef != "" {
			refs[c.ImageRef] = true
		}
	}
	if o.Images == RemoveLocal {
		maps.DeleteFunc(refs, func(ref string, _ bool) bool { return !local[ref] })
	}
	for i := range v.s.Containers {
		if c := &v.s.Containers[i]; removals[c.ID] == nil {
			delete(refs, c.ImageRef) // a container that stays uses it
		}
	}
	for i, ref := range sorted(refs) {
		step := v.add(rank{groupCleanup, 2, i}, RemoveImage{Ref: ref}, "down --rmi "+string(o.Images))
		step.Optional = true
		step.Destroys = "image " + ref
		for _, c := range going { // several names may stand for one image
			step.need(removals[c.ID])
		}
	}
}

// stays is the first user that is not removed, by name if it is known.
func (v *verb) stays(users []string, removals map[string]*node) string {
	for _, id := range users {
		if removals[id] != nil {
			continue
		}
		for i := range v.s.Containers {
			if v.s.Containers[i].ID == id {
				return v.s.Containers[i].Name
			}
		}
		return short(id)
	}
	return ""
}

func (v *verb) externalNetwork(name string) bool {
	return v.p != nil && slices.ContainsFunc(v.p.Networks, func(n project.Network) bool { return n.Name == name && n.External })
}

func (v *verb) externalVolume(name string) bool {
	return v.p != nil && slices.ContainsFunc(v.p.Volumes, func(n project.Volume) bool { return n.Name == name && n.External })
}

func (v *verb) declaresVolume(name string) bool {
	return v.p != nil && slices.ContainsFunc(v.p.Volumes, func(n project.Volume) bool { return n.Name == name })
}
