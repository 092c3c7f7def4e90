package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"gantry/network/ns"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// realize makes namespace, interfaces and name service of a sandbox what its
// endpoints say, adopting what is there. The caller holds sb.mu.
func (m *Manager) realize(sb *sandbox) error {
	var sockets *dnsSockets
	in := inside{Manager: m, filtered: bridgedTrafficIsFiltered()}
	work := func() (err error) {
		if err = in.interfaces(sb); err == nil && sb.resolver == nil && sb.wantsDNS() {
			sockets, err = openDNS()
		}
		return err
	}
	var err error
	if ns.Pinned(sb.path) {
		in.inherit = !sb.known
		err = ns.Do(sb.path, work)
	} else {
		// after a crash or a reboot there may be a file with nothing pinned to it
		if err = os.Remove(sb.path); err == nil || errors.Is(err, os.ErrNotExist) {
			err = ns.Create(sb.path, work)
		}
	}
	if err != nil {
		return err
	}
	sb.known = true
	if sockets == nil {
		return nil
	}
	return m.serveDNS(sb, sockets)
}

// inside is work on a thread that is in a container's namespace: what the
// thread reads below /proc is the container's, m.host reaches the host.
type inside struct {
	*Manager
	filtered bool // the host's packet filter sees bridged traffic
	inherit  bool // an earlier daemon may have left interfaces in the namespace
	self     int  // the namespace
	inner    *netlink.Handle
}

// deleteLink removes an interface of the host, by the handle that was opened
// there: a new socket would be the container's.
func (m inside) deleteLink(index int) error {
	err := m.host.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// interfaces makes all interfaces and the default routes.
func (m inside) interfaces(sb *sandbox) error {
	self, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer self.Close()
	inner, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer inner.Close()
	m.self, m.inner = int(self.Fd()), inner
	if err := inner.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}); err != nil { // lo is always the first
		return fmt.Errorf("interface \"lo\": %w", err)
	}
	if m.inherit {
		if err := m.recognize(sb); err != nil {
			return err
		}
	}
	sb.numberInterfaces()
	for _, ep := range sb.endpoints {
		if err := m.attach(ep); err != nil {
			return fmt.Errorf("network %q: interface %q: %w", ep.as.Network, ep.as.IfName, err)
		}
	}
	gw4, gw6 := sb.gateways()
	if gw4 != nil {
		err = defaultRoute(inner, gw4, gw4.as.Gateway4.AsSlice())
	}
	if gw6 != nil && err == nil {
		err = defaultRoute(inner, gw6, gw6.as.Gateway6.AsSlice())
	}
	return err
}

// recognize finds out which interface of an earlier daemon belongs to which
// endpoint, for it keeps its name. One of a network that the container has left
// since is deleted: that daemon was killed before it could.
func (m inside) recognize(sb *sandbox) error {
	links, err := whole(m.inner.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	own := m.devices(sb.id)
	for _, link := range links {
		if link.Type() != "veth" {
			continue
		}
		outer, err := m.host.LinkByIndex(link.Attrs().ParentIndex)
		if missing := new(netlink.LinkNotFoundError); errors.As(err, missing) {
			continue // its other end is elsewhere
		} else if err != nil {
			return err
		}
		if outer.Attrs().ParentIndex != link.Attrs().Index || !own[outer.Attrs().Name] {
			continue // the container's own
		}
		i := slices.IndexFunc(sb.endpoints, func(ep *endpoint) bool { return ep.device == outer.Attrs().Name })
		if i >= 0 {
			if sb.endpoints[i].as.IfName == "" {
				sb.endpoints[i].as.IfName = link.Attrs().Name
			}
			continue
		}
		if err := m.deleteLink(outer.Attrs().Index); err != nil {
			return fmt.Errorf("interface %q of a network that was left: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// devices are the hosts' ends that a sandbox has or had, by name.
func (m *Manager) devices(id string) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]bool{}
	for _, b := range m.networks {
		out[m.device("gv", id, b.rec.ID)] = true
	}
	return out
}

func defaultRoute(inner *netlink.Handle, ep *endpoint, gateway net.IP) error {
	link, err := inner.LinkByName(ep.as.IfName)
	if err == nil {
		err = inner.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway})
	}
	return wrap(err, "network %q: default route by %s", ep.as.Network, gateway)
}

// attach makes one interface and its other end on the bridge.
func (m inside) attach(ep *endpoint) error {
	link, err := m.inner.LinkByName(ep.as.IfName)
	if err == nil && ep.index == 0 {
		err = m.adopt(ep, link)
	} else if err == nil {
		return nil // made or adopted before
	}
	if missing := new(netlink.LinkNotFoundError); errors.As(err, missing) {
		if err = m.makeVeth(ep); err != nil {
			return err
		}
		link, err = m.inner.LinkByName(ep.as.IfName)
	}
	if err != nil {
		return err
	}
	return m.address(link, ep)
}

// adopt takes over an interface that is there: its other end must be on the
// endpoint's bridge. One that leads elsewhere is deleted and reported missing.
func (m inside) adopt(ep *endpoint, link netlink.Link) error {
	if link.Type() == "veth" {
		outer, err := m.host.LinkByIndex(link.Attrs().ParentIndex)
		if err == nil && outer.Attrs().Name == ep.device {
			ep.index = outer.Attrs().Index
			return errors.Join(m.readdress(link, ep), m.plug(outer, ep))
		}
		if err == nil && strings.HasPrefix(outer.Attrs().Name, "gv"+m.cfg.Instance+"-") {
			if err := m.deleteLink(outer.Attrs().Index); err != nil {
				return err
			}
			return netlink.LinkNotFoundError{}
		}
	}
	return fmt.Errorf("the container has a device of its own of that name: %w", errdefs.ErrConflict)
}

// readdress takes other addresses of the network off an adopted interface: those
// of a daemon that was killed before it could note them. The hardware address
// goes with them, for it was made of them and may be somebody else's now.
func (m inside) readdress(link netlink.Link, ep *endpoint) error {
	addrs, err := whole(func() ([]netlink.Addr, error) { return m.inner.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	var errs []error
	same := false
	for _, a := range addrs {
		addr, _ := netip.AddrFromSlice(a.IP)
		addr = addr.Unmap()
		if addr == ep.as.IPv4.Addr() || addr == ep.as.IPv6.Addr() {
			same = true
		} else if slices.ContainsFunc(ep.bridge.subnets(), func(p netip.Prefix) bool { return p.Contains(addr) }) {
			errs = append(errs, wrap(m.inner.AddrDel(link, &a), "address %s", addr))
		}
	}
	if same {
		ep.as.MAC = link.Attrs().HardwareAddr
	} else {
		errs = append(errs, wrap(m.inner.LinkSetHardwareAddr(link, ep.as.MAC), "hardware address %s", ep.as.MAC))
	}
	return errors.Join(errs...)
}

func (m inside) makeVeth(ep *endpoint) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = ep.device, ep.bridge.opts.mtu, net.FlagUp
	attrs.HardwareAddr = hardwareAddr("host", ep.device)
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: ep.as.IfName, PeerHardwareAddr: ep.as.MAC, PeerNamespace: netlink.NsFd(m.self), PeerTxQLen: -1}
	err := m.host.LinkAdd(v)
	if errors.Is(err, unix.EEXIST) {
		// a leftover: of a namespace that is gone from disk, but not yet from the kernel
		old, lerr := m.host.LinkByName(ep.device)
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if derr := m.deleteLink(old.Attrs().Index); derr != nil {
			return errors.Join(err, derr)
		}
		v.Index = 0
		err = m.host.LinkAdd(v)
	}
	if err != nil {
		return err
	}
	if ep.index = v.Index; ep.index == 0 {
		return fmt.Errorf("device %q went away", ep.device)
	}
	return m.plug(v, ep)
}

// plug puts the host's end on the bridge.
func (m inside) plug(outer netlink.Link, ep *endpoint) error {
	if outer.Attrs().MasterIndex != ep.bridge.index {
		if err := m.host.LinkSetMasterByIndex(outer, ep.bridge.index); err != nil {
			return fmt.Errorf("put %q on bridge %q: %w", ep.device, ep.bridge.rec.Bridge, err)
		}
		if m.filtered {
			// Then a published port of the container itself is translated within
			// the bridge: the packet leaves by the port that it came from. What
			// must not pass between containers is dropped by our rules.
			return wrap(m.host.LinkSetHairpin(outer, true), "hairpin mode of %q", ep.device)
		}
		if !ep.bridge.opts.icc {
			return wrap(m.host.LinkSetIsolated(outer, true), "isolate %q", ep.device)
		}
	}
	return nil
}

// address configures the container's end.
func (m inside) address(link netlink.Link, ep *endpoint) error {
	name := ep.as.IfName
	conf4, conf6 := "net/ipv4/conf/"+name+"/", "net/ipv6/conf/"+name+"/"
	if !ep.as.IPv6.IsValid() && !slices.ContainsFunc(ep.want.More, netip.Addr.Is6) {
		if err := lenient(sysctl(conf6+"disable_ipv6", "1")); err != nil {
			return err
		}
	} else if err := errors.Join(sysctl(conf6+"disable_ipv6", "0"), sysctl(conf6+"accept_ra", "0")); err != nil {
		return err
	}
	if len(ep.want.MAC) > 0 { // neighbours may remember another one for this address
		if err := errors.Join(sysctl(conf4+"arp_notify", "1"), lenient(sysctl(conf6+"ndisc_notify", "1"))); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(mapKeys(ep.want.Sysctls)) {
		path := strings.ReplaceAll(strings.ReplaceAll(key, ".", "/"), "IFNAME", name)
		if !strings.HasPrefix(path, "net/") || strings.Contains(path, "..") {
			return fmt.Errorf("sysctl %q is not of a network interface: %w", key, errdefs.ErrInvalidArgument)
		}
		if err := sysctl(path, ep.want.Sysctls[key]); err != nil {
			return err
		}
	}
	if p := ep.as.IPv4; p.IsValid() {
		if err := m.inner.AddrReplace(link, &netlink.Addr{IPNet: ipNet(p.Addr(), p.Bits())}); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	if p := ep.as.IPv6; p.IsValid() {
		// Nobody else can have it, so there is no need to wait and see (DAD).
		if err := m.inner.AddrReplace(link, &netlink.Addr{IPNet: ipNet(p.Addr(), p.Bits()), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	for _, a := range ep.want.More {
		bits := 16 // as Docker has it
		if a.Is6() {
			bits = 64
		}
		if err := m.inner.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a, bits)}); err != nil {
			return fmt.Errorf("link-local address %s: %w", a, err)
		}
	}
	return m.inner.LinkSetUp(link)
}

// dropEndpoints deletes interfaces of a sandbox that goes on. The caller holds
// sb.mu and has taken them out of sb.endpoints.
func (m *Manager) dropEndpoints(sb *sandbox, endpoints []*endpoint) error {
	var merr *multierror.Error
	for _, ep := range endpoints {
		m.mu.Lock()
		ep.bridge.leaving[sb.id] = true
		m.mu.Unlock()
		m.zone.Remove(ep.want.Network, sb.id)
		merr = multierror.Append(merr, m.deleteEndpoint(ep))
	}
	m.free(sb.id, endpoints)
	return merr.ErrorOrNil()
}

func (m *Manager) deleteEndpoint(ep *endpoint) error {
	if ep.index == 0 {
		return nil
	}
	err := m.deleteLink(ep.index)
	return wrap(err, "network %q: interface %q: delete", ep.as.Network, ep.device)
}

func (m *Manager) removeNamespace(path string) error { return ns.Remove(path) }
