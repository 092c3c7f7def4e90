package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/network/ns"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
)

// again asks for what a container had, as after a restart of the daemon.
func (c *container) again(aliases ...string) {
	c.Helper()
	want := Sandbox{ID: c.id}
	for _, a := range c.as {
		want.Endpoints = append(want.Endpoints, Endpoint{
			Network: a.Network, IPv4: a.IPv4.Addr(), IPv6: a.IPv6.Addr(), IfName: a.IfName, MAC: a.MAC, Aliases: a.Names,
		})
	}
	r, err := c.Ensure(c.ctx(), want)
	c.must(err)
	for i, a := range r.Endpoints {
		if a.IPv4 != c.as[i].IPv4 || a.IPv6 != c.as[i].IPv6 || a.IfName != c.as[i].IfName || a.MAC.String() != c.as[i].MAC.String() {
			c.Errorf("has %+v, had %+v", a, c.as[i])
		}
	}
	c.SetLive(c.id, true)
}

func (c *container) link(network string) netlink.Link {
	c.Helper()
	n, err := c.Get(network)
	c.must(err)
	l, err := netlink.LinkByName(c.device("gv", c.id, n.ID))
	c.must(err)
	return l
}

// A daemon that is killed and started again finds everything; connections of
// containers go on in the meantime.
func TestRestartAdopts(t *testing.T) {
	w := newWorld(t)
	o := w.outside()
	w.network("front", network.CreateRequest{EnableIPv6: yes()})
	w.network("back", network.CreateRequest{})
	a := w.container("a", Endpoint{Network: "front"}, Endpoint{Network: "back"})
	b := w.container("b", Endpoint{Network: "front"})
	b.serve(80, "b")
	ports := w.publish(b, Port{ContainerPort: 80}, Port{ContainerPort: 80, Proto: "udp"})
	index := a.link("back").Attrs().Index

	echo := w.echo(b, 90)
	var conn, asked net.Conn
	a.inside(func() (err error) {
		if conn, err = net.Dial("tcp", echo); err == nil {
			asked, err = net.Dial("udp", "127.0.0.11:53") // a resolver that keeps its socket, as nginx's does
		}
		return err
	})
	defer conn.Close()
	defer asked.Close()
	talk := func() {
		t.Helper()
		if err := udpExchange(conn, "?"); err != nil {
			t.Error(err)
		}
	}
	talk()
	w.must(dnsExchange(asked, "b", b.addr("front")))

	w.must(w.Manager.Close(w.ctx()))
	talk()
	o.reaches("b", "tcp", hostPort(o.host, ports[0].HostPort)) // translated, not carried
	o.reaches("b", "udp", hostPort(o.host, ports[1].HostPort))
	w.Manager = w.open()
	talk()
	o.reaches("b", "tcp", hostPort(o.host, ports[0].HostPort))
	a.again()
	b.again()
	if now := a.link("back").Attrs().Index; now != index {
		t.Errorf("the interface was made anew: index %d, was %d", now, index)
	}
	for i, p := range w.publish(b, Port{ContainerPort: 80, HostPort: ports[0].HostPort}, Port{ContainerPort: 80, Proto: "udp", HostPort: ports[1].HostPort}) {
		if p.HostPort != ports[i].HostPort {
			t.Errorf("port %d, was %d", p.HostPort, ports[i].HostPort)
		}
	}
	w.must(w.Sweep(w.ctx(), func(string) bool { return false }))
	talk()
	w.must(dnsExchange(asked, "b", b.addr("front")))
	o.reaches("b", "udp", hostPort(o.host, ports[1].HostPort))
	w.answered("b", "tcp", hostPort("::1", ports[0].HostPort))
	a.finds("b", b.addr("front"))
	other := w.container("other", Endpoint{Network: "front"})
	if other.addr("front") == a.addr("front") || other.addr("front") == b.addr("front") {
		t.Errorf("address %s was given twice", other.addr("front"))
	}
}

// echo serves one TCP connection at a time and sends back what it gets.
func (w *world) echo(c *container, port uint16) string {
	w.Helper()
	c.inside(func() error {
		l, err := net.Listen("tcp", hostPort("0.0.0.0", port))
		if err != nil {
			return err
		}
		w.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}
		}()
		return nil
	})
	return hostPort(c.addr("front"), port)
}

// After a reboot records are all there is.
func TestRebootRestores(t *testing.T) {
	w := newWorld(t)
	n := w.network("front", network.CreateRequest{EnableIPv6: yes(), Options: map[string]string{optMTU: "1400"}, Labels: map[string]string{"a": "b"}})
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	d := w.container("d", Endpoint{Network: DefaultName})
	port := w.publish(b, Port{ContainerPort: 80})[0].HostPort
	w.must(w.Manager.Close(w.ctx()))
	for _, c := range []*container{a, b, d} {
		w.must(ns.Remove(c.path))
	}
	for _, l := range w.leftovers() {
		if name, ok := strings.CutPrefix(l, "link "); ok {
			if link, err := netlink.LinkByName(name); err == nil { // else its other end is gone, and it with that
				if err := netlink.LinkDel(link); err != nil && !strings.Contains(err.Error(), "no such device") {
					t.Fatal(err)
				}
			}
		}
	}
	w.must(w.fw.Remove())
	mustWrite(t, a.path, "") // a file without a namespace, as a power cut may leave

	w.Manager = w.open()
	got, err := w.Get(n.ID)
	w.must(err)
	if got.Name != "front" || got.IPAM.Config[0].Subnet != n.IPAM.Config[0].Subnet || got.Labels["a"] != "b" || got.Bridge != n.Bridge || !got.EnableIPv6 {
		t.Errorf("network is %+v, was %+v", got, n)
	}
	for _, c := range []*container{a, b, d} {
		c.again()
	}
	b.serve(80, "b")
	w.publish(b, Port{ContainerPort: 80, HostPort: port})
	w.must(w.Sweep(w.ctx(), func(string) bool { return false }))
	a.reaches("b", "tcp", hostPort(b.addr("front"), 80))
	a.reaches("b", "tcp", hostPort(b.as[0].IPv6.Addr(), 80))
	a.finds("b", b.addr("front"))
	w.answered("b", "tcp", hostPort("127.0.0.1", port))
	if mtu := a.link("front").Attrs().MTU; mtu != 1400 {
		t.Errorf("MTU %d", mtu)
	}
}

func TestSweepRemovesOwnLeaksOnly(t *testing.T) {
	w := newWorld(t)
	w.network("front", network.CreateRequest{})
	w.network("lost", network.CreateRequest{})
	a, kept, leaked := w.container("a", Endpoint{Network: "front"}), w.container("kept", Endpoint{Network: "front"}), w.container("leaked", Endpoint{Network: "front"})
	lost := w.container("lost", Endpoint{Network: "lost"})
	port := w.publish(leaked, Port{ContainerPort: 80})[0].HostPort
	keptLink, aLink := kept.link("front"), a.link("front")
	other := &world{TB: t, cfg: w.cfg}
	other.cfg.Instance, other.cfg.RunDir, other.cfg.StateDir = w.cfg.Instance+"x", t.TempDir(), t.TempDir()
	other.Manager = other.open()
	t.Cleanup(other.destroy)
	other.network("front", network.CreateRequest{})
	theirs := other.container("theirs", Endpoint{Network: "front"})
	theirs.serve(80, "theirs")
	theirPort := other.publish(theirs, Port{ContainerPort: 80})[0].HostPort

	w.must(w.Manager.Close(w.ctx()))
	w.must(os.Remove(filepath.Join(w.cfg.StateDir, "lost.json")))
	w.Manager = w.open()
	a.again()
	w.must(w.Sweep(w.ctx(), func(id string) bool { return id == kept.id }))

	for _, c := range []*container{leaked, lost} {
		if ns.Pinned(c.path) {
			t.Errorf("namespace %s is left", c.path)
		}
	}
	for _, l := range []netlink.Link{keptLink, aLink} {
		if _, err := netlink.LinkByIndex(l.Attrs().Index); err != nil {
			t.Errorf("interface %s: %v", l.Attrs().Name, err)
		}
	}
	if !ns.Pinned(kept.path) || !ns.Pinned(a.path) {
		t.Error("a namespace that is needed was removed")
	}
	for front := range w.fw.Forwards() {
		if front.Port == port {
			t.Errorf("port %d is still translated", port)
		}
	}
	links := 0
	for _, l := range w.leftovers() {
		if strings.HasPrefix(l, "link ") && !strings.Contains(l, other.cfg.Instance) {
			links++
		}
	}
	if links != 3 { // the bridge and two interfaces
		t.Errorf("left are %q", w.leftovers())
	}
	w.answered("theirs", "tcp", hostPort("127.0.0.1", theirPort))
	kept.again()
}

func TestFixedAddresses(t *testing.T) {
	w := newWorld(t)
	p := w.network("front", network.CreateRequest{EnableIPv6: yes()}).IPAM.Config
	ip, ip6 := nth(p[0].Subnet, 77), nth(p[1].Subnet, 0x77)
	old := w.container("old", Endpoint{Network: "front", IPv4: ip, IPv6: ip6, MAC: net.HardwareAddr{2, 1, 2, 3, 4, 5}, IfName: "net7"})
	if as := old.as[0]; as.IPv4.Addr() != ip || as.IPv6.Addr() != ip6 || as.MAC.String() != "02:01:02:03:04:05" || as.IfName != "net7" {
		t.Errorf("got %+v", as)
	}
	id := digest(w.cfg.Instance, "new")
	want := Sandbox{ID: id, Endpoints: []Endpoint{{Network: "front", IPv4: ip}}}
	_, err := w.Ensure(w.ctx(), want)
	in := new(AddressInUseError)
	if !errors.As(err, &in) || in.Holder != old.id || in.Addr != ip || in.Network != "front" || !errors.Is(err, ErrAddressInUse) || !errdefs.IsAlreadyExists(err) {
		t.Fatalf("got %v", err)
	}
	w.must(w.Flush(w.ctx()))
	if ns.Pinned(w.Path(id)) {
		t.Error("a sandbox that could not be made left its namespace")
	}
	// released while its interface is still there: waited for
	w.must(w.Release(w.ctx(), old.id))
	r, err := w.Ensure(w.ctx(), want)
	w.must(err)
	if r.Endpoints[0].IPv4.Addr() != ip {
		t.Errorf("got %+v", r.Endpoints[0])
	}
	w.SetLive(id, true)

	for what, ep := range map[string]Endpoint{
		"gateway": {Network: "front", IPv4: p[0].Gateway}, "outside": {Network: "front", IPv4: netip.MustParseAddr("203.0.113.1")},
		"no network": {Network: "nowhere"}, "sysctl": {Network: "front", Sysctls: map[string]string{"kernel.x.IFNAME": "1"}},
	} {
		_, err := w.Ensure(w.ctx(), Sandbox{ID: digest(w.cfg.Instance, what), Endpoints: []Endpoint{ep}})
		if what == "gateway" && (!errors.As(err, &in) || in.Holder != "gateway") || what == "no network" && !errdefs.IsNotFound(err) ||
			(what == "outside" || what == "sysctl") && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	w.container("tuned", Endpoint{Network: "front", Sysctls: map[string]string{"net.ipv4.conf.IFNAME.log_martians": "1"}}).inside(func() error {
		if !enabled("net/ipv4/conf/eth0/log_martians") {
			t.Error("the sysctl was not set")
		}
		return nil
	})
}

// A stopped container keeps its address only until its replacement asks for it.
func TestStoppedContainerGivesItsAddressUp(t *testing.T) {
	w := newWorld(t)
	ip := nth(w.network("front", network.CreateRequest{}).IPAM.Config[0].Subnet, 77)
	w.network("back", network.CreateRequest{})
	old := w.container("old", Endpoint{Network: "front", IPv4: ip}, Endpoint{Network: "back"})
	w.SetLive(old.id, false)
	fresh := w.container("new", Endpoint{Network: "front", IPv4: ip})
	fresh.serve(80, "new")
	w.answered("new", "tcp", hostPort(ip, 80))
	other := w.container("other", Endpoint{Network: "front"})
	other.reaches("new", "tcp", hostPort(ip, 80))
	if _, err := w.Ensure(w.ctx(), Sandbox{ID: old.id, Endpoints: []Endpoint{{Network: "front", IPv4: ip}, {Network: "back"}}}); !errors.Is(err, ErrAddressInUse) {
		t.Errorf("the old one took it from a live one: %v", err)
	}
	w.SetLive(fresh.id, false)
	r, err := w.Ensure(w.ctx(), Sandbox{ID: old.id, Endpoints: []Endpoint{{Network: "front", IPv4: ip}, {Network: "back"}}})
	w.must(err)
	if r.Endpoints[0].IPv4.Addr() != ip || r.Endpoints[1].IPv4.Addr() != old.addr("back") {
		t.Errorf("got %+v", r.Endpoints)
	}
}

func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// Two daemons make twenty networks each at once, with containers on them.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	other := &world{TB: t, cfg: w.cfg}
	other.cfg.Instance, other.cfg.RunDir, other.cfg.StateDir = w.cfg.Instance+"y", t.TempDir(), t.TempDir()
	other.Manager = other.open()
	t.Cleanup(other.destroy)
	var mu sync.Mutex
	var all []netip.Prefix
	var wg sync.WaitGroup
	for _, w := range []*world{w, other} {
		for i := range 20 {
			wg.Go(func() {
				name := fmt.Sprint("net", i)
				n, err := w.Create(w.ctx(), name, network.CreateRequest{}, digest(w.cfg.Instance, name))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, n.IPAM.Config[0].Subnet)
				mu.Unlock()
				id := digest(w.cfg.Instance, name, "c")
				if _, err = w.Ensure(w.ctx(), Sandbox{ID: id, Endpoints: []Endpoint{{Network: name}}}); err == nil {
					_, err = w.Publish(w.ctx(), id, []Port{{ContainerPort: 80}})
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for i, p := range all {
		for _, q := range all[:i] {
			if p.Overlaps(q) {
				t.Errorf("%s and %s overlap", p, q)
			}
		}
	}
	if len(all) != 40 {
		t.Errorf("%d networks", len(all))
	}
}

// What a container used comes back: goroutines, sockets, files.
func TestReleaseLeavesNothing(t *testing.T) {
	w := newWorldAlone(t)
	w.network("front", network.CreateRequest{EnableIPv6: yes()})
	cycle := func() {
		for i := range 8 {
			c := w.container(fmt.Sprint("c", i), Endpoint{Network: "front"})
			w.publish(c, Port{ContainerPort: 80}, Port{ContainerPort: 80, Proto: "udp"})
			w.must(w.Release(w.ctx(), c.id))
		}
		w.must(w.Flush(w.ctx()))
	}
	cycle() // what is made once
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 3 {
		cycle()
	}
	deadline := time.Now().Add(bound) // the runtime counts a goroutine a moment longer than it lives
	for runtime.NumGoroutine() > goroutines && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines, were %d:\n%s", now, goroutines, buf[:runtime.Stack(buf, true)])
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d open files, were %d", now, files)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
