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

// Build plans how the project becomes what p says, given what s observed with
// QueryFor(p, o). It has no effect and reads no clock; equal arguments give
// equal plans. An up-to-date project gives an empty plan. All that is wrong is
// reported at once, each as an error of an errdefs class, and then there is no
// plan.
func Build(p *project.Project, s *State, o Options) (*Plan, error) {
	return newUp(p, s, o).build()
}

// up is a plan in the making: first all decisions, service by service in
// dependency order, then the steps, then their edges.
type up struct {
	problems
	draft
	p        *project.Project
	s        *State
	o        Options
	g        *graph
	warnings []string

	work     map[string]*work
	order    []*work // dependencies first
	networks map[string]*netWork
	volumes  map[string]*volWork
	images   map[ImageQuery]*node // the pull or build, by image reference and platform
	waits    map[waitKey]*node
	calmly   map[string]bool       // what calm found, by service
	orphans  []*Container          // to be removed
	holding  map[uint16][]holding  // by port number
	leaving  map[string]*node      // container ID to the step that removes it
	mine     map[string]*Container // by ID
}

// work is what has to happen to one service.
type work struct {
	svc      *project.Service
	index    int
	recreate Recreate
	oneOff   bool
	aliases  bool // answers to the service's names
	image    imageNeed
	slots    []*slot // the containers that it shall have, by number
	surplus  []*slot // the containers that go
	stops    []*node
	early    bool // stops before its new containers are created
}

// slot is one container's place in a service.
type slot struct {
	number  int
	name    string       // in the end
	id      string       // of the container that has the place in the end
	keep    *Container   // the container that stays, nil for a new one
	base    *Container   // with keep nil: the container whose place it takes
	old     []*Container // the containers that leave the place
	cause   string       // why there is a new one, or why the old ones go
	start   string       // why the present one is started, "" when it is not
	restart string       // why the present one is restarted, "" when it is not
	unpause bool

	// replaced is when there is a new one: surely, or only if an image turns out
	// to be another; then base is the container that stays otherwise.
	replaced          doubt
	starts, restarted doubt // when start and restart count

	create, started *node
	stops           []*node
}

// stays is the container that may have the place after this plan, nil for none.
func (t *slot) stays() *Container {
	if t.keep == nil && len(t.replaced.onlyIf) > 0 {
		return t.base
	}
	return t.keep
}

// began is when the slot's container starts to run in this plan.
func (t *slot) began() doubt {
	if t.stays() == nil {
		return surely
	}
	return t.replaced.or(t.starts).or(t.restarted)
}

// begins says that the slot's container may start to run in this plan.
func (t *slot) begins() bool { return t.began().happens }

func newUp(p *project.Project, s *State, o Options) *up {
	b := &up{
		p: p, s: s, o: o,
		work:     make(map[string]*work, len(p.Services)),
		networks: make(map[string]*netWork),
		volumes:  make(map[string]*volWork),
		images:   make(map[ImageQuery]*node),
		waits:    make(map[waitKey]*node),
		calmly:   make(map[string]bool),
		holding:  make(map[uint16][]holding),
		leaving:  make(map[string]*node),
		mine:     make(map[string]*Container, len(s.Containers)),
	}
	for i := range s.Containers {
		b.mine[s.Containers[i].ID] = &s.Containers[i]
	}
	var cycle []string
	b.g, cycle = newGraph(projectDeps(p))
	if cycle != nil {
		b.refuse(project.Position{}, errdefs.ErrInvalidArgument, "dependency cycle: %s", strings.Join(cycle, " -> "))
	}
	b.choose()
	return b
}

// choose fills work with the services that the options select.
func (b *up) choose() {
	for _, name := range slices.Concat(b.o.Services, sorted(b.o.Scale)) {
		if _, ok := b.g.place[name]; !ok {
			b.refuse(project.Position{}, errdefs.ErrNotFound, "no such service: %q", name)
		}
	}
	chosen := choose(b.g, b.o.Services, b.o.NoDeps)
	services := make(map[string]*project.Service, len(b.p.Services))
	for i := range b.p.Services {
		services[b.p.Services[i].Name] = &b.p.Services[i]
	}
	for _, name := range b.g.order {
		if !chosen[name] {
			continue
		}
		w := &work{svc: services[name], index: len(b.order), recreate: b.o.RecreateDeps, aliases: true}
		if len(b.o.Services) == 0 || slices.Contains(b.o.Services, name) {
			w.recreate = b.o.Recreate
		}
		if b.o.Recreate == RecreateNever {
			w.recreate = RecreateNever
		}
		b.work[name] = w
		b.order = append(b.order, w)
	}
}

// oneOff adds the container of a `run` behind the services.
func (b *up) oneOff(svc *project.Service, o OneOffOptions) {
	if len(b.o.Services) == 0 { // no dependencies: nothing but the one container
		b.work, b.order = make(map[string]*work), nil
	}
	w := &work{svc: svc, index: len(b.order), oneOff: true, aliases: o.UseAliases}
	id := b.id(svc.Name, 0, "run")
	name := o.Name
	if name == "" {
		name = fmt.Sprintf("%s-%s-run-%s", b.p.Name, svc.Name, id[:12])
	}
	w.slots = []*slot{{number: 1, name: name, id: id, cause: "run"}}
	b.work[oneOffKey] = w
	b.order = append(b.order, w)
}

func (b *up) build() (*Plan, error) {
	b.findNetworks()
	b.findVolumes()
	b.findOrphans()
	for _, w := range b.order {
		b.findImage(w)
	}
	b.shareImages()
	for _, w := range b.order {
		if !w.oneOff {
			b.fill(w)
		}
	}
	b.spreadRestarts()
	b.findStarts()
	b.check()
	if err := b.err(); err != nil {
		return nil, err
	}
	b.steps()
	b.edges()
	b.hooks(b.p, b.s.Containers)
	return b.plan(b.p.Name, b.warnings)
}

// netWork is what has to happen to one network.
type netWork struct {
	net      *project.Network
	now      *Network // as observed, nil when it is not there
	replaced bool     // its definition changed
	remove   *node
	create   *node
}

// volWork is what has to happen to one named volume.
type volWork struct {
	vol    *project.Volume
	now    *Volume
	create *node
}

// findNetworks compares the networks that the chosen services are on.
func (b *up) findNetworks() {
	used := make(map[string]bool)
	for _, w := range b.order {
		for _, a := range w.svc.Networks {
			used[a.Name] = true
		}
	}
	for i := range b.p.Networks {
		n := &b.p.Networks[i]
		if !used[n.Name] {
			continue
		}
		work := &netWork{net: n}
		if now, ok := b.s.Networks[n.Name]; ok {
			work.now = &now
		}
		b.networks[n.Name] = work
		switch {
		case n.External:
			if work.now == nil {
				b.refuse(n.Source, errdefs.ErrNotFound, "network %q is external and does not exist: create it first", n.Name)
			}
		case work.now == nil:
		case work.now.Project != b.p.Name:
			b.refuse(n.Source, errdefs.ErrAlreadyExists, "network %q exists and belongs to %s: choose another name, or set external: true to use it",
				n.Name, owner(work.now.Project))
		case work.now.Hash == "" || work.now.Hash == n.Hash:
		case b.o.Recreate == RecreateNever:
			b.warn("network %q is not as defined any more; its containers are not to be recreated, so it stays", n.Name)
		default:
			work.replaced = true
			b.checkUsers(work)
		}
	}
}

// checkUsers makes sure that a network can be replaced: only containers that
// this plan stops may be on it.
func (b *up) checkUsers(n *netWork) {
	for _, id := range n.now.Users {
		c := b.mine[id]
		if c == nil {
			b.refuse(n.net.Source, errdefs.ErrFailedPrecondition, "network %q has changed, but container %s is on it, which is not of this project: disconnect it first", n.net.Name, short(id))
			continue
		}
		_, handled := b.work[c.Service]
		if handled && !c.OneOff || b.isOrphan(c) && b.o.RemoveOrphans || !runs(c) {
			continue
		}
		b.refuse(n.net.Source, errdefs.ErrFailedPrecondition, "network %q has changed, but container %q is on it, which this command leaves alone: stop it first", n.net.Name, c.Name)
	}
}

// findVolumes compares the named volumes that the chosen services mount.
func (b *up) findVolumes() {
	used := make(map[string]bool)
	for _, w := range b.order {
		for _, m := range w.svc.HostConfig.Mounts {
			if m.Type == mount.TypeVolume {
				used[m.Source] = true
			}
		}
	}
	for i := range b.p.Volumes {
		v := &b.p.Volumes[i]
		if !used[v.Name] {
			continue
		}
		work := &volWork{vol: v}
		if now, ok := b.s.Volumes[v.Name]; ok {
			work.now = &now
		}
		b.volumes[v.Name] = work
		switch {
		case v.External:
			if work.now == nil {
				b.refuse(v.Source, errdefs.ErrNotFound, "volume %q is external and does not exist: create it first", v.Name)
			}
		case work.now == nil:
		case work.now.Project != b.p.Name:
			// Its data is somebody's: it is used as it is, and `down -v` leaves it.
			b.warn("volume %q exists and belongs to %s: set external: true to use it", v.Name, owner(work.now.Project))
		case work.now.Hash != "" && work.now.Hash != v.Hash:
			b.warn("volume %q is not as defined any more; it is left as it is, with its data", v.Name)
		}
	}
}

// findOrphans finds the containers of services that the project lacks.
func (b *up) findOrphans() {
	var names []string
	for i := range b.s.Containers {
		c := &b.s.Containers[i]
		switch {
		case !b.isOrphan(c):
		case b.o.RemoveOrphans:
			b.orphans = append(b.orphans, c)
		case !c.OneOff:
			names = append(names, c.Name)
		}
	}
	if len(names) > 0 {
		slices.Sort(names)
		b.warn("containers of services that the project no longer has: %s (--remove-orphans removes them)", strings.Join(names, ", "))
	}
}

// isOrphan follows Docker Compose: a container whose service is unknown, and a
// one-off that has ended.
func (b *up) isOrphan(c *Container) bool { return isOrphan(b.p, b.g, c) }

func isOrphan(p *project.Project, g *graph, c *Container) bool {
	if c.OneOff {
		return c.Status == container.StateExited || c.Status == container.StateDead
	}
	_, known := g.place[c.Service]
	return !known && !slices.Contains(p.Disabled, c.Service)
}

func (b *up) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

func owner(project string) string {
	if project == "" {
		return "no project"
	}
	return fmt.Sprintf("project %q", project)
}

// runs says that a container has a process, so that it must be stopped before
// it is removed.
func runs(c *Container) bool {
	switch c.Status {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return true
	}
	return false
}

// short is the first twelve digits of an ID, as people see it.
func short(id string) string { return id[:min(len(id), 12)] }
