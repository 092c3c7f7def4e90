package network

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"gantry/network/ns"

	"github.com/containerd/errdefs"
	"github.com/google/nftables"
	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
)

func TestParseRequest(t *testing.T) {
	p, ip := netip.MustParsePrefix, netip.MustParseAddr
	no := false
	config := func(c ...network.IPAMConfig) *network.IPAM { return &network.IPAM{Config: c} }
	option := func(key, value string) network.CreateRequest {
		return network.CreateRequest{Options: map[string]string{key: value}}
	}
	for _, c := range []struct {
		name string
		req  network.CreateRequest
		err  string // "" for none
	}{
		{"a", network.CreateRequest{}, ""},
		{"a", network.CreateRequest{Driver: "bridge", Scope: "local", IPAM: &network.IPAM{Driver: "default"}}, ""},
		{"a", network.CreateRequest{Scope: "swarm"}, `scope "swarm"`},
		{"a", network.CreateRequest{ConfigOnly: true}, "configuration networks"},
		{"../a", network.CreateRequest{}, "a name has letters"},
		{"", network.CreateRequest{}, "a name has letters"},
		{"a", network.CreateRequest{EnableIPv4: &no}, "both IPv4 and IPv6"},
		{"a", network.CreateRequest{IPAM: &network.IPAM{Driver: "dhcp"}}, `IPAM driver "dhcp"`},
		{"a", network.CreateRequest{IPAM: config(network.IPAMConfig{Gateway: ip("10.0.0.1")})}, "need a subnet"},
		{"a", network.CreateRequest{IPAM: config(network.IPAMConfig{Subnet: p("10.0.0.0/24"), Gateway: ip("10.0.0.9"), IPRange: p("10.0.0.128/25")})}, ""},
		{"a", network.CreateRequest{IPAM: config(network.IPAMConfig{Subnet: p("10.0.0.0/24"), IPRange: p("10.0.1.0/25")})}, "is not part of subnet"},
		{"a", network.CreateRequest{IPAM: config(network.IPAMConfig{Subnet: p("10.0.0.0/24")}, network.IPAMConfig{Subnet: p("10.0.1.0/24")})}, "one subnet of each family"},
		{"a", network.CreateRequest{IPAM: config(network.IPAMConfig{Subnet: p("fd00::/64")})}, ""}, // not used
		{"a", option(optBridge, "br-mine"), ""},
		{"a", option(optBridge, "much-too-long-name"), "at most 15 characters"},
		{"a", option(optBridge, ".."), "at most 15 characters"},
		{"a", option(optICC, "perhaps"), `value "perhaps"`},
		{"a", option(optHostBinding, "::1"), "not an IPv4 address"},
		{"a", option(optMTU, "12"), "out of range"},
		{"a", option("com.docker.network.bridge.gateway_mode_ipv4", "routed"), "not supported"},
		{"a", option("org.example.note", "x"), ""},
	} {
		_, err := parseRequest(c.name, c.req)
		if c.err == "" && err != nil || c.err != "" && (!errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "\""+c.name+"\"")) {
			t.Errorf("%q %+v: got %v, want %q", c.name, c.req, err, c.err)
		}
	}
}

func TestDriversThatAreNotThere(t *testing.T) {
	for driver, is := range map[string]func(error) bool{
		"": nil, "bridge": nil, "default": nil, "overlay": errdefs.IsNotImplemented, "macvlan": errdefs.IsNotImplemented,
		"ipvlan": errdefs.IsNotImplemented, "host": errdefs.IsPermissionDenied, "weave": errdefs.IsNotFound,
	} {
		_, err := parseRequest("a", network.CreateRequest{Driver: driver})
		if is == nil && err != nil || is != nil && (!is(err) || !strings.Contains(err.Error(), driver)) {
			t.Errorf("driver %q: %v", driver, err)
		}
	}
}

func TestNetworksAreFoundAndRemoved(t *testing.T) {
	w := newWorld(t)
	front := w.network("front", network.CreateRequest{Labels: map[string]string{"a": "b"}})
	for _, ref := range []string{"front", front.ID, front.ID[:12]} {
		if n, err := w.Get(ref); err != nil || n.ID != front.ID || n.Labels["a"] != "b" || !n.IPAM.Config[0].Gateway.IsValid() {
			t.Errorf("%q: got %+v, %v", ref, n, err)
		}
	}
	for _, ref := range []string{"", "nobody"} {
		if _, err := w.Get(ref); err == nil {
			t.Errorf("%q was found", ref)
		}
	}
	var names []string
	for _, n := range w.List() {
		names = append(names, n.Name+"/"+n.Driver)
	}
	if got := strings.Join(names, " "); got != "bridge/bridge front/bridge host/host none/null" {
		t.Errorf("networks are %s", got)
	}
	for name, want := range map[string]func(error) bool{"front": errdefs.IsAlreadyExists, "host": errdefs.IsPermissionDenied, "bridge": errdefs.IsPermissionDenied} {
		if _, err := w.Create(w.ctx(), name, network.CreateRequest{}, digest(name)); !want(err) {
			t.Errorf("create %q: %v", name, err)
		}
	}
	same := network.CreateRequest{IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: front.IPAM.Config[0].Subnet}}}}
	if _, err := w.Create(w.ctx(), "same", same, digest("same")); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), `"front"`) {
		t.Errorf("a subnet that is taken: %v", err)
	}
	if _, err := w.Create(w.ctx(), "lo", network.CreateRequest{Options: map[string]string{optBridge: "lo"}}, digest("lo")); !errdefs.IsConflict(err) {
		t.Errorf("a device that is no bridge: %v", err)
	}
	o := w.outside()
	wire := network.CreateRequest{IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.PrefixFrom(o.host, 24).Masked()}}}}
	if _, err := w.Create(w.ctx(), "wire", wire, digest("wire")); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "x"+w.cfg.Instance) {
		t.Errorf("a subnet of the host: %v", err)
	}

	a := w.container("a", Endpoint{Network: "front"})
	if err := w.Remove(w.ctx(), "front"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), a.id[:12]) {
		t.Errorf("removed with a container on it: %v", err)
	}
	w.must(w.Release(w.ctx(), a.id))
	w.must(w.Remove(w.ctx(), front.ID)) // waits for a's interface
	if err := w.Remove(w.ctx(), "front"); !errdefs.IsNotFound(err) {
		t.Errorf("removed twice: %v", err)
	}
	for _, name := range []string{"bridge", "host", "none"} {
		if err := w.Remove(w.ctx(), name); !errdefs.IsPermissionDenied(err) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	w.network("front", network.CreateRequest{})
}

// A bridge that the administrator made is used and left.
func TestBorrowedBridgeStays(t *testing.T) {
	w := newWorld(t)
	name := "own" + w.cfg.Instance
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	w.must(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	t.Cleanup(func() { w.must(netlink.LinkDel(&netlink.Bridge{LinkAttrs: attrs})) })
	n := w.network("front", network.CreateRequest{Options: map[string]string{optBridge: name}})
	if n.Bridge != name || !n.Borrowed {
		t.Errorf("got %+v", n)
	}
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	b.serve(80, "b")
	a.reaches("b", "tcp", hostPort(b.addr("front"), 80))
	w.removeAll("front", a, b)
	_, err := netlink.LinkByName(name)
	w.must(err)
}

func TestBridgeThatWasTakenAwayIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	n := w.network("front", network.CreateRequest{})
	l, err := netlink.LinkByName(n.Bridge)
	w.must(err)
	w.must(netlink.LinkDel(l))
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	b.serve(80, "b")
	a.reaches("b", "tcp", hostPort(b.addr("front"), 80))
}

// Turning forwarding on must not make a router of a host that was none, nor
// take its autoconfigured addresses.
func TestForwardingIsTurnedOnWithoutWidening(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ns")
	policies := func() map[nftables.TableFamily]nftables.ChainPolicy {
		c, err := nftables.New()
		if err != nil {
			t.Fatal(err)
		}
		chains, err := c.ListChains()
		if err != nil {
			t.Fatal(err)
		}
		out := map[nftables.TableFamily]nftables.ChainPolicy{}
		for _, ch := range chains {
			if ch.Table.Name == "filter" && ch.Name == "FORWARD" && ch.Policy != nil {
				out[ch.Table.Family] = *ch.Policy
			}
		}
		return out
	}
	err := ns.Create(path, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "uplink"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return err
		}
		if err := sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return err
		}
		// on already: nothing is changed
		if err := enableForwarding(false); err != nil || len(policies()) != 0 {
			t.Errorf("%v: policies %v, want none", err, policies())
		}
		if err := sysctl("net/ipv4/ip_forward", "0"); err != nil {
			return err
		}
		if err := enableForwarding(false); err != nil {
			return err
		}
		if err := enableForwarding(true); err != nil {
			return err
		}
		if p := policies(); len(p) != 2 || p[nftables.TableFamilyIPv4] != nftables.ChainPolicyDrop || p[nftables.TableFamilyIPv6] != nftables.ChainPolicyDrop {
			t.Errorf("policies %v, want DROP in both families", p)
		}
		if !enabled("net/ipv4/ip_forward") || !enabled("net/ipv6/conf/all/forwarding") {
			t.Error("forwarding is off")
		}
		if enabled("net/ipv6/conf/uplink/accept_ra") {
			t.Error("a forwarding host with accept_ra=1 hears no router advertisements")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := ns.Remove(path); err != nil {
		t.Error(err)
	}
}
