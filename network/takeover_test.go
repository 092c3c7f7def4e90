package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gantry/network/ns"

	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
)

// links are the interfaces of a container, with their IPv4 addresses.
func (c *container) links() (out []string) {
	c.Helper()
	c.must(ns.Do(c.path, func() error {
		h, err := netlink.NewHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		all, err := h.LinkList()
		if err != nil {
			return err
		}
		for _, l := range all {
			if l.Type() != "veth" {
				continue
			}
			text := l.Attrs().Name
			addrs, err := h.AddrList(l, netlink.FAMILY_V4)
			if err != nil {
				return err
			}
			for _, a := range addrs {
				text += " " + a.IP.String()
			}
			out = append(out, text)
		}
		return nil
	}))
	slices.Sort(out)
	return out
}

// A daemon that was killed while it changed a container's networks has left
// interfaces and addresses that its successor is not told of.
func TestInterfacesOfAnEarlierDaemon(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c"} {
		w.network(n, network.CreateRequest{})
	}
	c := w.container("one", Endpoint{Network: "a"}, Endpoint{Network: "b"}, Endpoint{Network: "c", IfName: "own0"})
	b, own := c.addr("b").String(), c.addr("c").String()
	w.must(w.Disconnect(w.ctx(), c.id, "a"))
	want := []string{"eth1 " + b, "own0 " + own}
	if got := c.links(); !slices.Equal(got, want) {
		t.Fatalf("interfaces %v, want %v", got, want)
	}
	w.reopen()
	r, err := w.Ensure(w.ctx(), Sandbox{ID: c.id, Endpoints: []Endpoint{{Network: "c", IPv4: c.addr("c")}, {Network: "b", IPv4: c.addr("b")}}})
	w.must(err)
	if got := c.links(); !slices.Equal(got, want) || r.Endpoints[0].IfName != "own0" || r.Endpoints[1].IfName != "eth1" {
		t.Errorf("taken over as %v, %+v", got, r.Endpoints)
	}
	// one that it has to leave, and an address that nobody knows of
	w.reopen()
	other := w.container("other", Endpoint{Network: "b", IPv4: c.addr("b")})
	r, err = w.Ensure(w.ctx(), Sandbox{ID: c.id, Endpoints: []Endpoint{{Network: "b"}}})
	w.must(err)
	now := r.Endpoints[0].IPv4.Addr()
	if got := c.links(); len(got) != 1 || got[0] != "eth1 "+now.String() || now == other.addr("b") {
		t.Errorf("interfaces %v", got)
	}
	other.serve(80, "other")
	c.reaches("other", "tcp", hostPort(other.addr("b"), 80))
}

func TestLinksAreNamesForOneContainer(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b"} {
		w.network(n, network.CreateRequest{})
	}
	db := w.container("db", Endpoint{Network: "a"})
	app := w.container("app", Endpoint{Network: "a", Links: map[string]string{"Store": "db", "gone": "nobody"}}, Endpoint{Network: "b"})
	app.finds("store", db.addr("a"))
	app.finds("db", db.addr("a"))
	if code, got := db.resolve("udp", "store", 1); code == "" && len(got) > 0 {
		t.Errorf("who has no link finds %v", got)
	}
	if code, got := app.resolve("udp", "gone", 1); code == "" && len(got) > 0 {
		t.Errorf("a link to nobody leads to %v", got)
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	n := w.network("a", network.CreateRequest{EnableIPv6: yes()})
	w.container("one", Endpoint{Network: "a"})
	usage := w.Usage("a")
	v4, v6 := usage[n.IPAM.Config[0].Subnet], usage[n.IPAM.Config[1].Subnet]
	// a /25: its own address, broadcast, gateway and one container; of IPv6 the anycast address instead of the first two
	if v4.IPsInUse != 4 || v4.DynamicIPsAvailable != 124 || v6.IPsInUse != 3 || v6.DynamicIPsAvailable != 1<<64-1-3 {
		t.Errorf("got %+v", usage)
	}
	if w.Usage("host") != nil {
		t.Error("the host's network has subnets")
	}
}

func TestEditHosts(t *testing.T) {
	for _, c := range []struct{ name, current, remove, add, want string }{
		{"one more", "127.0.0.1\tlocalhost\n", "", "10.0.0.2\tme", "127.0.0.1\tlocalhost\n10.0.0.2\tme\n"},
		{"another one", "a\n10.0.0.2\tme\nmine\n", "10.0.0.2\tme", "10.0.0.3\tme", "a\nmine\n10.0.0.3\tme\n"},
		{"the same", "10.0.0.2\tme\nmine\n", "10.0.0.2\tme", "10.0.0.2\tme", "10.0.0.2\tme\nmine\n"},
		{"done before", "mine\n10.0.0.3\tme\n", "10.0.0.2\tme", "10.0.0.3\tme", "mine\n10.0.0.3\tme\n"},
		{"no end of line", "mine", "", "10.0.0.2\tme", "mine\n10.0.0.2\tme\n"},
		{"nothing", "", "", "", ""},
	} {
		lines := func(s string) (out []string) {
			if s != "" {
				out = append(out, s+"\n")
			}
			return out
		}
		got := string(EditHosts([]byte(c.current), lines(c.remove), lines(c.add)))
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if again := string(EditHosts([]byte(got), lines(c.remove), lines(c.add))); again != got {
			t.Errorf("%s: done twice it is %q", c.name, again)
		}
	}
	if got := HostsLine(netip.MustParseAddr("10.0.0.2"), OwnNames("me", "example.org")...); !strings.HasPrefix(got, "10.0.0.2\tme.example.org me") {
		t.Errorf("got %q", got)
	}
}
