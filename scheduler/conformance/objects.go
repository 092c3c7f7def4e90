package conformance

import (
	"net"
	"slices"
	"strconv"

	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// networks checks who keeps one from being removed.
func networks(r *rig) {
	front, back := r.network("front"), r.network("back")
	c := r.container("app", on(front.Name, back.Name))
	r.do(front, back, c, start(c))
	s := r.observe(scheduler.Query{})
	seen := s.Networks[front.Name]
	if seen.ID == "" || seen.Project != r.project || seen.Key != "front" || seen.Hash != "hash-front" || !slices.Equal(seen.Users, []string{c.ID}) {
		r.Errorf("observed %+v", seen)
	}
	got := r.see(c.ID).Networks
	if got[front.Name] != seen.ID || keys(got) != back.Name+" "+front.Name {
		r.Errorf("a running container is on %v, not on %q", got, seen.ID)
	}
	out := scheduler.RemoveNetwork{Name: front.Name, ID: seen.ID}
	r.refused(out)
	r.do(stop(c))
	if got := r.see(c.ID).Networks; keys(got) != back.Name+" "+front.Name {
		r.Errorf("a stopped container is on %v", got)
	}
	r.do(out)
	if s := r.observe(scheduler.Query{Networks: []string{front.Name}}); keys(s.Networks) != back.Name {
		r.Errorf("left %v", keys(s.Networks))
	}
	if got := r.see(c.ID).Networks[front.Name]; got == seen.ID {
		r.Error("a stopped container kept its place on a network that is gone")
	}
	r.do(front, start(c))
	if id, now := r.see(c.ID).Networks[front.Name], r.observe(scheduler.Query{}).Networks[front.Name].ID; id != now || now == seen.ID {
		r.Errorf("on %q, and the network is %q, was %q", id, now, seen.ID)
	}
}

// volumes checks who keeps one from being removed.
func volumes(r *rig) {
	v := r.volume("data")
	c := r.container("app", mounts(mount.Mount{Type: mount.TypeVolume, Source: v.Name, Target: "/data"}))
	r.do(v, c)
	seen := r.observe(scheduler.Query{}).Volumes[v.Name]
	if seen.Project != r.project || seen.Key != "data" || seen.Hash != "hash-data" || seen.Anonymous || !slices.Equal(seen.Users, []string{c.ID}) {
		r.Errorf("observed %+v", seen)
	}
	r.refused(scheduler.RemoveVolume{Name: v.Name}) // although its user never ran
	gone := remove(c)
	gone.Volumes = true
	r.do(gone)
	if s := r.observe(scheduler.Query{}); keys(s.Volumes) != v.Name {
		r.Errorf("with a container its named volume went: %v", keys(s.Volumes))
	}
	r.do(scheduler.RemoveVolume{Name: v.Name})
	if s := r.observe(scheduler.Query{Volumes: []string{v.Name}}); len(s.Volumes) > 0 {
		r.Errorf("left %v", keys(s.Volumes))
	}
}

// anonymousVolumes checks that they are carried over, and go with their last
// container only.
func anonymousVolumes(r *rig) {
	cache := mounts(mount.Mount{Type: mount.TypeVolume, Target: "/cache"})
	a := r.container("app", cache)
	r.do(a)
	name := r.see(a.ID).Anonymous["/cache"]
	if name == "" {
		r.Fatal("no anonymous volume is seen")
	}
	b := r.container("app", cache, func(c *scheduler.CreateContainer) {
		c.Replaces, c.Volumes = a.ID, map[string]string{"/cache": name, "/undeclared": name}
	})
	r.do(b)
	if got := r.see(b.ID).Anonymous; got["/cache"] != name || len(got) != 1 {
		r.Errorf("took over %v, not %q", got, name)
	}
	exists := func() bool {
		v, ok := r.observe(scheduler.Query{Volumes: []string{name}}).Volumes[name]
		if ok && !v.Anonymous {
			r.Errorf("not anonymous: %+v", v)
		}
		return ok
	}
	goneA, goneB := remove(a), remove(b)
	goneA.Volumes, goneB.Volumes = true, true
	r.do(goneA)
	if !exists() {
		r.Fatal("a volume that another container has went with the first")
	}
	r.do(start(b), stop(b), goneB)
	if exists() {
		r.Error("the volume outlived its last container, which was removed with its volumes")
	}
}

// ports checks that a published port is its container's alone while that runs.
func ports(r *rig) {
	port := freePort(r)
	n := r.network("front")
	publish := func(c *scheduler.CreateContainer) {
		p := network.MustParsePort("80/tcp")
		c.Config.ExposedPorts = network.PortSet{p: struct{}{}}
		c.Host.PortBindings = network.PortMap{p: {{HostPort: strconv.Itoa(int(port))}}}
	}
	a, b := r.container("a", on(n.Name), publish), r.container("b", on(n.Name), publish)
	r.do(n, a, start(a), b) // both may exist
	hp := scheduler.HostPort{Port: port, Protocol: "tcp"}
	if s := r.observe(scheduler.Query{Ports: []scheduler.HostPort{hp}}); len(s.Busy) > 0 {
		r.Errorf("the project's own port counts as busy: %v", s.Busy)
	}
	if got := r.see(a.ID).Ports; !slices.Equal(got, []scheduler.HostPort{hp}) {
		r.Errorf("publishes %v", got)
	}
	other := &rig{T: r.T, d: r.d, image: r.image, project: r.project + "x"}
	if s := other.observe(scheduler.Query{Ports: []scheduler.HostPort{hp}}); s.Busy[hp] == "" {
		r.Error("another project's port does not count as busy")
	}
	r.refused(start(b))
	r.do(stop(a), start(b))
	r.status(b.ID, container.StateRunning)
}

func freePort(r *rig) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
