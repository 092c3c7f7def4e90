package scheduler

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/project"

	"github.com/moby/moby/api/types/mount"
)

// QueryFor says what Build has to know of the runtime for p.
func QueryFor(p *project.Project, o Options) Query {
	g, _ := newGraph(projectDeps(p))
	q := Query{Project: p.Name}
	chosen := choose(g, o.Services, o.NoDeps)
	for i := range p.Services {
		if svc := &p.Services[i]; chosen[svc.Name] {
			q.service(p.Name, svc, replicas(svc, o.Scale), o)
			q.contexts(p, svc, map[string]bool{})
		}
	}
	q.tidy()
	return q
}

// QueryOneOff says what BuildOneOff has to know of the runtime for p.
func QueryOneOff(p *project.Project, o OneOffOptions) Query {
	svc := oneOffService(p, o)
	if svc == nil {
		return Query{Project: p.Name}
	}
	up := o.dependencies(svc)
	q := Query{Project: p.Name}
	if len(up.Services) > 0 {
		q = QueryFor(p, up)
	}
	q.service(p.Name, svc, 0, up)
	q.contexts(p, svc, map[string]bool{})
	if o.Name != "" {
		q.Containers = append(q.Containers, o.Name)
	}
	q.tidy()
	return q
}

// choose returns the services that names mean: all of them when there is none,
// and what they depend on, unless noDeps.
func choose(g *graph, names []string, noDeps bool) map[string]bool {
	if len(names) == 0 {
		names = g.order
	}
	if noDeps {
		return reach(names, func(string) []string { return nil })
	}
	return g.closure(names)
}

// QueryProject is enough for every verb that changes no definition (down,
// stop, start, …): the project's own objects, found by their labels. p may be
// nil.
func QueryProject(name string, p *project.Project) Query {
	q := Query{Project: name}
	if p == nil {
		return q
	}
	for i := range p.Services {
		q.Images = append(q.Images, ImageQuery{Ref: p.Services[i].Image, Platform: p.Services[i].Platform})
	}
	for i := range p.Networks {
		q.Networks = append(q.Networks, p.Networks[i].Name)
	}
	for i := range p.Volumes {
		q.Volumes = append(q.Volumes, p.Volumes[i].Name)
	}
	q.tidy()
	return q
}

// service adds what n containers of svc depend on.
func (q *Query) service(name string, svc *project.Service, n int, o Options) {
	image := ImageQuery{Ref: svc.Image, Platform: svc.Platform}
	switch policy, age := pullPolicy(svc, o.Pull); {
	case svc.Build != nil && (!svc.ImageGiven || !o.Builds.Never && (o.Builds.Always || policy == project.PullBuild)):
	case policy == project.PullNever:
	case policy == project.PullAlways || policy == project.PullRefresh:
		image.Remote, image.Stale = true, o.Now.Add(-age)
	default:
		image.Remote = true
	}
	q.Images = append(q.Images, image)
	for _, a := range svc.Networks {
		q.Networks = append(q.Networks, a.Name)
	}
	for _, m := range svc.HostConfig.Mounts {
		switch {
		case m.Type == mount.TypeVolume && m.Source != "":
			q.Volumes = append(q.Volumes, m.Source)
		case m.Type == mount.TypeImage:
			q.Images = append(q.Images, ImageQuery{Ref: m.Source, Remote: true})
		case m.Type == mount.TypeBind && mustExist(m):
			q.Binds = append(q.Binds, m.Source)
		}
	}
	q.Ports = append(q.Ports, fixedPorts(svc)...)
	for number := 1; number <= n; number++ {
		q.Containers = append(q.Containers, containerName(name, svc, number))
	}
	for _, mode := range modes(svc) {
		if target, ok := strings.CutPrefix(mode, "container:"); ok {
			q.Containers = append(q.Containers, target)
		}
	}
}

// contexts adds the images that svc's build begins with.
func (q *Query) contexts(p *project.Project, svc *project.Service, seen map[string]bool) {
	for _, name := range svc.Build.ServiceContexts() {
		if dep, ok := p.Service(name); ok && !seen[name] {
			seen[name] = true
			q.Images = append(q.Images, imageKey(dep))
			q.contexts(p, dep, seen)
		}
	}
}

// tidy sorts and drops what was asked twice.
func (q *Query) tidy() {
	slices.SortStableFunc(q.Images, func(a, b ImageQuery) int {
		return cmp.Or(cmp.Compare(a.Ref, b.Ref), cmp.Compare(a.Platform, b.Platform))
	})
	// Of two questions about one image the stricter one is asked: the registry
	// rather than not, the later moment rather than the earlier.
	merged := q.Images[:0]
	for _, i := range q.Images {
		if n := len(merged); n > 0 && merged[n-1].Ref == i.Ref && merged[n-1].Platform == i.Platform {
			last := &merged[n-1]
			last.Remote = last.Remote || i.Remote
			if i.Stale.After(last.Stale) {
				last.Stale = i.Stale
			}
			continue
		}
		merged = append(merged, i)
	}
	q.Images = merged
	for _, list := range []*[]string{&q.Networks, &q.Volumes, &q.Binds, &q.Containers} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	slices.SortFunc(q.Ports, comparePorts)
	q.Ports = slices.Compact(q.Ports)
}

// replicas is how many containers svc shall have.
func replicas(svc *project.Service, scale map[string]int) int {
	if n, ok := scale[svc.Name]; ok {
		return n
	}
	return svc.Replicas
}

// pullPolicy is the policy that counts for svc, and for a refresh the age from
// which a pull is due.
func pullPolicy(svc *project.Service, override project.PullPolicy) (project.PullPolicy, time.Duration) {
	policy := cmp.Or(override, svc.PullPolicy, project.PullMissing)
	if policy == project.PullRefresh {
		return policy, svc.PullEvery
	}
	return policy, 0
}

// containerName is the name that container number of svc has in the end.
func containerName(project string, svc *project.Service, number int) string {
	if svc.ContainerName != "" {
		return svc.ContainerName
	}
	return fmt.Sprintf("%s-%s-%d", project, svc.Name, number)
}

// mustExist says that a bind's source is not created when it is missing.
func mustExist(m mount.Mount) bool {
	return m.BindOptions == nil || !m.BindOptions.CreateMountpoint
}

// modes are the namespaces that svc may share: network, process, IPC.
func modes(svc *project.Service) [3]string {
	h := &svc.HostConfig
	return [3]string{string(h.NetworkMode), string(h.PidMode), string(h.IpcMode)}
}

// owners are the modes, and whose volumes svc mounts in the same form.
func owners(svc *project.Service) []string {
	m := modes(svc)
	out := m[:]
	for _, from := range svc.HostConfig.VolumesFrom {
		owner, _ := cutMode(from)
		out = append(out, owner)
	}
	return out
}

// fixedPorts are the host ports that svc names, in order. Ephemeral ones and
// ranges to choose from are none.
func fixedPorts(svc *project.Service) []HostPort {
	var ports []HostPort
	for port, bindings := range svc.HostConfig.PortBindings {
		for _, b := range bindings {
			n, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil || n == 0 {
				continue
			}
			hp := HostPort{Port: uint16(n), Protocol: string(port.Proto())}
			if b.HostIP.IsValid() {
				hp.IP = b.HostIP.String()
			}
			ports = append(ports, hp)
		}
	}
	slices.SortFunc(ports, comparePorts)
	return slices.Compact(ports)
}

func comparePorts(a, b HostPort) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.IP, b.IP))
}

// overlap says that a and b cannot be bound at once.
func overlap(a, b HostPort) bool {
	if a.Port != b.Port || a.Protocol != b.Protocol {
		return false
	}
	if a.IP == "" || b.IP == "" || a.IP == b.IP {
		return true
	}
	x, errX := netip.ParseAddr(a.IP)
	y, errY := netip.ParseAddr(b.IP)
	if errX != nil || errY != nil || x.Is4() != y.Is4() {
		return false
	}
	return x.IsUnspecified() || y.IsUnspecified()
}

// String is the port as a person writes it: 127.0.0.1:8080/tcp.
func (p HostPort) String() string {
	s := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
	switch {
	case p.IP == "":
		return s
	case strings.Contains(p.IP, ":"):
		return "[" + p.IP + "]:" + s
	}
	return p.IP + ":" + s
}
