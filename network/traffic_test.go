package network

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	filter "gantry/network/nft"

	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestSameNetworkIsReachableOthersAreNot(t *testing.T) {
	w := newWorld(t)
	w.network("front", network.CreateRequest{})
	w.network("back", network.CreateRequest{})
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	c := w.container("c", Endpoint{Network: "back"})
	b.serve(80, "b")
	c.serve(80, "c")
	if peer := a.reaches("b", "tcp", hostPort(b.addr("front"), 80)); unmap(peer) != a.addr("front") {
		t.Errorf("b sees %s, want %s", peer, a.addr("front"))
	}
	a.reaches("b", "udp", hostPort(b.addr("front"), 80))
	w.answered("c", "tcp", hostPort(c.addr("back"), 80)) // the host reaches all
	a.unreachable("tcp", hostPort(c.addr("back"), 80))
	a.unreachable("udp", hostPort(c.addr("back"), 80))
}

func unmap(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a.Unmap()
}

func TestDefaultNetworkComesAndGoes(t *testing.T) {
	w := newWorld(t)
	a, b := w.container("a", Endpoint{Network: DefaultName}), w.container("b", Endpoint{Network: DefaultName})
	b.serve(80, "b")
	a.reaches("b", "tcp", hostPort(b.addr(DefaultName), 80))
	n, err := w.Get(DefaultName)
	w.must(err)
	w.must(w.Release(w.ctx(), a.id))
	w.must(w.Release(w.ctx(), b.id))
	w.must(w.Flush(w.ctx()))
	w.must(w.Flush(w.ctx()))
	if left := w.leftovers(); len(left) > 0 {
		t.Errorf("left of the default network: %q", left)
	}
	again := w.container("c", Endpoint{Network: DefaultName})
	if p := n.IPAM.Config[0].Subnet; !p.Contains(again.addr(DefaultName)) {
		t.Errorf("address %s is not of the subnet %s that it had", again.addr(DefaultName), p)
	}
}

func TestOutsideIsReachedFromTheHostsAddress(t *testing.T) {
	w := newWorld(t)
	o := w.outside()
	o.serve(80, "outside")
	w.network("masked", network.CreateRequest{EnableIPv6: yes()})
	w.network("plain", network.CreateRequest{Options: map[string]string{optMasquerade: "false"}})
	w.network("inner", network.CreateRequest{Internal: true})
	a := w.container("a", Endpoint{Network: "masked"})
	if peer := a.reaches("outside", "tcp", hostPort(o.self, 80)); unmap(peer) != o.host {
		t.Errorf("outside sees %s, want the host's %s", peer, o.host)
	}
	a.reaches("outside", "udp", hostPort(o.self, 80))
	if peer := a.reaches("outside", "tcp", hostPort(o.self6, 80)); unmap(peer) != o.host6 {
		t.Errorf("outside sees %s, want the host's %s", peer, o.host6)
	}
	b := w.container("b", Endpoint{Network: "plain"})
	o.routeTo(b.as[0].IPv4)
	if peer := b.reaches("outside", "tcp", hostPort(o.self, 80)); unmap(peer) != b.addr("plain") {
		t.Errorf("outside sees %s, want the container's %s", peer, b.addr("plain"))
	}
	c, d := w.container("c", Endpoint{Network: "inner"}), w.container("d", Endpoint{Network: "inner"})
	c.serve(80, "c")
	d.reaches("c", "tcp", hostPort(c.addr("inner"), 80))
	c.unreachable("tcp", hostPort(o.self, 80))
	// not even with routes in both directions, and whoever else translates
	o.routeTo(c.as[0].IPv4)
	c.inside(func() error { return netlink.RouteAdd(&netlink.Route{Gw: nth(c.as[0].IPv4.Masked(), 1).AsSlice()}) })
	c.unreachable("tcp", hostPort(o.self, 80))
	o.unreachable("tcp", hostPort(c.addr("inner"), 80))
	front := filter.Frontend{IP: o.host, Proto: unix.IPPROTO_TCP, Port: w.freePort()}
	w.must(w.fw.Forward(map[filter.Frontend]netip.AddrPort{front: netip.AddrPortFrom(c.addr("inner"), 80)}, nil))
	w.answered("c", "tcp", hostPort(o.host, front.Port)) // it is: the host itself gets there
	o.unreachable("tcp", hostPort(o.host, front.Port))
	w.must(w.fw.Forward(nil, []filter.Frontend{front}))
	if c.as[0].Gateway4.IsValid() {
		t.Errorf("a container of an internal network has the gateway %s", c.as[0].Gateway4)
	}
	// nobody outside reaches what was not published
	b.serve(80, "b")
	w.answered("b", "tcp", hostPort(b.addr("plain"), 80))
	o.unreachable("tcp", hostPort(b.addr("plain"), 80))
}

// Both ways: by isolated ports, and by rules where the packet filter sees what
// passes within a bridge.
func TestNoTrafficBetweenContainersOfOneNetwork(t *testing.T) {
	w := newWorldAlone(t)
	w.bridgedTraffic(func(filtered bool) {
		w.network("apart", network.CreateRequest{Options: map[string]string{optICC: "false"}})
		a, b := w.container("a", Endpoint{Network: "apart"}), w.container("b", Endpoint{Network: "apart"})
		a.serve(80, "a")
		b.serve(80, "b")
		w.answered("b", "tcp", hostPort(b.addr("apart"), 80))
		w.answered("a", "tcp", hostPort(a.addr("apart"), 80))
		a.unreachable("tcp", hostPort(b.addr("apart"), 80))
		ports := w.publish(b, Port{ContainerPort: 80})
		a.reaches("b", "tcp", hostPort(b.as[0].Gateway4, ports[0].HostPort))
		w.removeAll("apart", a, b)
	})
}

// bridgedTraffic runs f with br_netfilter off and on, in a namespace of its
// own; on a real host, as that is set.
func (w *world) bridgedTraffic(f func(filtered bool)) {
	w.Helper()
	if !private() {
		f(bridgedTrafficIsFiltered())
		return
	}
	for _, value := range []string{"0", "1"} {
		for _, key := range []string{"iptables", "ip6tables"} {
			if err := sysctl("net/bridge/bridge-nf-call-"+key, value); err != nil {
				w.Log("no br_netfilter here:", err)
			}
		}
		f(bridgedTrafficIsFiltered())
	}
}

func (w *world) removeAll(network string, containers ...*container) {
	w.Helper()
	for _, c := range containers {
		w.must(w.Release(w.ctx(), c.id))
	}
	w.must(w.Remove(w.ctx(), network))
	w.must(w.Flush(w.ctx()))
}

func TestDualStackAndIPv6Only(t *testing.T) {
	w := newWorld(t)
	no := false
	w.network("six", network.CreateRequest{EnableIPv4: &no, EnableIPv6: yes()})
	w.network("both", network.CreateRequest{EnableIPv6: yes(), IPAM: &network.IPAM{Config: []network.IPAMConfig{
		{Subnet: w.subnet6()}}}})
	a := w.container("a", Endpoint{Network: "six"})
	b := w.container("b", Endpoint{Network: "six"}, Endpoint{Network: "both"})
	b.serve(80, "b")
	a.reaches("b", "tcp", hostPort(b.as[0].IPv6.Addr(), 80))
	if a.as[0].IPv4.IsValid() {
		t.Errorf("IPv4 %s on a network without", a.as[0].IPv4)
	}
	a.unreachable("tcp", hostPort(b.as[1].IPv6.Addr(), 80))
}

// subnet6 and subnet4 are of this test alone.
func (w *world) subnet6() netip.Prefix {
	return netip.PrefixFrom(netip.MustParseAddr("fd99:"+w.cfg.Instance[1:]+"::"), 64)
}

// A policy of DROP, as ufw and Docker set it, must not stop containers; rules
// of others are left as they are, and ours go with the last network.
func TestForwardPolicyDrop(t *testing.T) {
	if !private() {
		t.Log("the host's own rules are not for tests: see the run in a namespace of its own")
		return
	}
	w := newWorldAlone(t)
	o := w.outside()
	o.serve(80, "outside")
	w.bridgedTraffic(func(bool) {
		ruleset := `flush ruleset
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		ip saddr 203.0.113.1 accept comment "theirs"
	}
}
table ip6 filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
	}
}
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		reject with icmpx admin-prohibited
	}
}
table inet other {
	chain forward {
		type filter hook forward priority filter + 10; policy drop;
	}
}
`
		nftCommand(t, ruleset, "-f", "-")
		before := nftCommand(t, "", "list", "ruleset")
		w.network("front", network.CreateRequest{EnableIPv6: yes()})
		a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
		b.serve(80, "b")
		ports := w.publish(b, Port{ContainerPort: 80}, Port{ContainerPort: 80, Proto: "udp"})
		check := func() {
			t.Helper()
			a.reaches("b", "tcp", hostPort(b.addr("front"), 80))
			a.reaches("outside", "tcp", hostPort(o.self, 80))
			a.reaches("outside", "tcp", hostPort(o.self6, 80))
			for _, ip := range []netip.Addr{o.host, o.host6} {
				o.reaches("b", "tcp", hostPort(ip, ports[0].HostPort))
				o.reaches("b", "udp", hostPort(ip, ports[1].HostPort))
				a.reaches("b", "tcp", hostPort(ip, ports[0].HostPort))
				b.reaches("b", "tcp", hostPort(ip, ports[0].HostPort)) // itself
				w.answered("b", "tcp", hostPort(ip, ports[0].HostPort))
			}
			w.answered("b", "tcp", hostPort("127.0.0.1", ports[0].HostPort))
		}
		check()
		// somebody reloads the host's rules: the next container brings ours back
		nftCommand(t, ruleset, "-f", "-")
		later := w.container("later", Endpoint{Network: "front"})
		check()
		rules := nftCommand(t, "", "list", "ruleset")
		last := w.container("last", Endpoint{Network: "front"})
		if again := nftCommand(t, "", "list", "ruleset"); strings.Count(again, "\n") != strings.Count(rules, "\n") {
			t.Errorf("rules grew:\n%s\nfrom:\n%s", again, rules)
		}
		w.removeAll("front", a, b, later, last)
		if after := nftCommand(t, "", "list", "ruleset"); after != before {
			t.Errorf("others' rules were changed to\n%s\nfrom\n%s", after, before)
		}
	})
	nftCommand(t, "flush ruleset", "-f", "-")
}

func nftCommand(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("nft", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %q: %v: %s", args, err, out)
	}
	return string(out)
}
