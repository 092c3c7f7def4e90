package network

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"gantry/network/ns"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// outside is another machine on a wire to this host.
type outside struct {
	container
	host, host6 netip.Addr // the host's addresses on that wire
	self, self6 netip.Addr
}

func (w *world) outside() *outside {
	w.Helper()
	var r [2]byte
	_, _ = rand.Read(r[:])
	o := &outside{container: container{world: w, path: filepath.Join(w.TempDir(), "outside")}}
	o.host, o.self = netip.AddrFrom4([4]byte{198, 18 + r[0]&1, r[1], 1}), netip.AddrFrom4([4]byte{198, 18 + r[0]&1, r[1], 2})
	o.host6 = netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", r[0], r[1]))
	o.self6 = o.host6.Next()
	name := "x" + w.cfg.Instance
	w.must(ns.Create(o.path, func() error {
		self, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(self)
		inner, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer inner.Close()
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		if err := w.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "wire", PeerNamespace: netlink.NsFd(self), PeerTxQLen: -1}); err != nil {
			return err
		}
		for _, end := range []struct {
			*netlink.Handle
			name string
			ips  []netip.Addr
		}{{w.host, name, []netip.Addr{o.host, o.host6}}, {inner, "wire", []netip.Addr{o.self, o.self6}}} {
			l, err := end.LinkByName(end.name)
			if err != nil {
				return err
			}
			for _, ip := range end.ips {
				bits := 24
				if ip.Is6() {
					bits = 64
				}
				if err := end.AddrAdd(l, &netlink.Addr{IPNet: ipNet(ip, bits), Flags: unix.IFA_F_NODAD}); err != nil {
					return err
				}
			}
			if err := end.LinkSetUp(l); err != nil {
				return err
			}
		}
		return nil
	}))
	w.Cleanup(func() {
		if l, err := netlink.LinkByName(name); err != nil {
			w.Error(err)
		} else if err := netlink.LinkDel(l); err != nil {
			w.Error(err)
		}
		if err := ns.Remove(o.path); err != nil {
			w.Error(err)
		}
	})
	return o
}

// routeTo makes the outside machine send packets for a network here.
func (o *outside) routeTo(p netip.Prefix) {
	o.Helper()
	o.inside(func() error {
		gw := o.host
		if p.Addr().Is6() {
			gw = o.host6
		}
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(p.Masked().Addr(), p.Bits()), Gw: gw.AsSlice()})
	})
}

func (o *outside) serve(port uint16, name string) {
	o.Helper()
	o.inside(func() error { return serve(o.TB, fmt.Sprintf("[::]:%d", port), name) })
}

// routeLoopback makes a machine send packets for a loopback address to a
// neighbour, as an attacker on the same wire can.
func (c *container) routeLoopback(to netip.Addr, device string, neighbour netip.Addr) {
	c.Helper()
	c.inside(func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		for _, local := range []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")} {
			r := netlink.Route{Dst: ipNet(local.Addr(), local.Bits()), Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST}
			if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if err := sysctl("net/ipv4/conf/all/route_localnet", "1"); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to, 32), Gw: neighbour.AsSlice()})
	})
}
