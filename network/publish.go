package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"

	"gantry/network/nft"
	"gantry/network/proxy"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Port is a port of a container that is published on the host.
type Port struct {
	// HostIP is invalid for all addresses of both families (or the network's
	// host_binding_ipv4), 0.0.0.0 for all of IPv4, :: for all of IPv6.
	HostIP netip.Addr
	// HostPort is 0 for any free one; with HostPortEnd, the first free one of
	// that range.
	HostPort, HostPortEnd uint16
	ContainerPort         uint16
	Proto                 string // "tcp" (also ""), "udp"

	// Bound is set by Publish: the addresses at which HostPort is reserved.
	Bound []netip.Addr
}

// ErrPortInUse is what errors about a port of the host that is taken are; they
// are errdefs.ErrConflict too. See PortInUseError.
var ErrPortInUse = fmt.Errorf("port in use: %w", errdefs.ErrConflict)

// ErrNoWayOut says that a sandbox has no network that is not internal.
var ErrNoWayOut = fmt.Errorf("no network that is not internal: %w", errdefs.ErrFailedPrecondition)

// PortInUseError says which port it is.
type PortInUseError struct {
	HostIP   netip.Addr
	HostPort uint16
	Proto    string
	Holder   string // ID of the sandbox that publishes it, "" for somebody else
}

func (e *PortInUseError) Error() string {
	by := "another program"
	if e.Holder != "" {
		by = fmt.Sprintf("container %.12q", e.Holder)
	}
	host := "0.0.0.0"
	if e.HostIP.IsValid() {
		host = e.HostIP.String()
	}
	return fmt.Sprintf("Bind for %s failed: port is already allocated: %s is in use by %s",
		net.JoinHostPort(host, strconv.Itoa(int(e.HostPort))), portName(e.HostIP, e.HostPort, e.Proto), by)
}

func (e *PortInUseError) Unwrap() error { return ErrPortInUse }

func portName(ip netip.Addr, port uint16, proto string) string {
	host := "*"
	if ip.IsValid() {
		host = ip.String()
		if ip.Is6() {
			host = "[" + host + "]"
		}
	}
	return fmt.Sprintf("%s:%d/%s", host, port, proto)
}

// binding is one published port: sockets that reserve it and carry what the
// packet filter cannot.
type binding struct {
	port    Port
	proto   uint8
	target4 netip.Addr // the container's, invalid without the family
	target6 netip.Addr
	proxyTo atomic.Pointer[netip.AddrPort]
	proxies []*proxy.Proxy
}

// Publish publishes ports of a sandbox beside those that it has, all or none.
// It returns them with the host's ports chosen, in order. Errors are
// *PortInUseError, errdefs.ErrInvalidArgument (an address that is not the
// host's), errdefs.ErrFailedPrecondition (no network with a way out).
func (m *Manager) Publish(ctx context.Context, id string, wanted []Port) ([]Port, error) {
	sb, err := m.lockSandbox(id, false)
	if err != nil {
		return nil, err
	}
	defer sb.mu.Unlock()
	if len(wanted) == 0 {
		return nil, nil
	}
	gw4, gw6 := sb.gateways()
	if gw4 == nil && gw6 == nil {
		return nil, fmt.Errorf("network sandbox %q: ports cannot be published: %w", id, ErrNoWayOut)
	}
	var done []*binding
	undo := func(err error) ([]Port, error) {
		for _, b := range done {
			b.close()
			m.forgetPort(b)
		}
		return nil, err
	}
	for _, p := range wanted {
		if p.Proto == "" {
			p.Proto = "tcp"
		}
		if !p.HostIP.IsValid() && gw4 != nil && gw4.bridge.opts.hostBinding.IsValid() {
			p.HostIP = gw4.bridge.opts.hostBinding
		}
		b, err := m.bind(id, p)
		if err != nil {
			return undo(err)
		}
		done = append(done, b)
	}
	add := map[nft.Frontend]netip.AddrPort{}
	for _, b := range done {
		b.aim(gw4, gw6)
		b.forwards(add)
	}
	if err := m.fw.Forward(add, nil); err != nil {
		return undo(fmt.Errorf("network sandbox %q: publish ports: %w", id, err))
	}
	sb.bindings = append(sb.bindings, done...)
	out := make([]Port, len(done))
	for i, b := range done {
		out[i] = b.port
	}
	m.forgetFlows(ctx, done)
	return out, nil
}

// Unpublish closes all published ports of a sandbox; one that is not known has
// none.
func (m *Manager) Unpublish(ctx context.Context, id string) error {
	sb, err := m.lockSandbox(id, false)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sb.mu.Unlock()
	return m.unpublish(ctx, sb)
}

// unpublish needs sb.mu.
func (m *Manager) unpublish(ctx context.Context, sb *sandbox) error {
	if len(sb.bindings) == 0 {
		return nil
	}
	remove := map[nft.Frontend]netip.AddrPort{}
	for _, b := range sb.bindings {
		b.forwards(remove)
	}
	err := m.fw.Forward(nil, fronts(remove))
	for _, b := range sb.bindings {
		b.close()
		m.forgetPort(b)
	}
	m.forgetFlows(ctx, sb.bindings)
	sb.bindings = nil
	return wrap(err, "network sandbox %q: unpublish ports", sb.id)
}

// retarget points published ports to the address that the gateway endpoint has
// now. The caller holds sb.mu.
func (m *Manager) retarget(sb *sandbox) error {
	if len(sb.bindings) == 0 {
		return nil
	}
	gw4, gw6 := sb.gateways()
	before, after := map[nft.Frontend]netip.AddrPort{}, map[nft.Frontend]netip.AddrPort{}
	for _, b := range sb.bindings {
		b.forwards(before)
		b.aim(gw4, gw6)
		b.forwards(after)
	}
	for front, to := range after {
		if before[front] == to {
			delete(after, front)
		}
		delete(before, front)
	}
	if len(before)+len(after) == 0 {
		return nil
	}
	return m.fw.Forward(after, fronts(before))
}

func fronts(m map[nft.Frontend]netip.AddrPort) (out []nft.Frontend) {
	for f := range m {
		out = append(out, f)
	}
	return out
}

// aim sets where the binding leads.
func (b *binding) aim(gw4, gw6 *endpoint) {
	b.target4, b.target6 = netip.Addr{}, netip.Addr{}
	to := netip.AddrPort{}
	if gw6 != nil {
		b.target6 = gw6.as.IPv6.Addr()
		to = netip.AddrPortFrom(b.target6, b.port.ContainerPort)
	}
	if gw4 != nil {
		b.target4 = gw4.as.IPv4.Addr()
		to = netip.AddrPortFrom(b.target4, b.port.ContainerPort)
	}
	b.proxyTo.Store(&to)
}

// forwards collects what the packet filter can translate: within one family,
// and not from [::1].
func (b *binding) forwards(into map[nft.Frontend]netip.AddrPort) {
	for _, ip := range b.port.Bound {
		target := b.target4
		if ip.Is6() {
			target = b.target6
		}
		if target.IsValid() && !(ip.Is6() && ip.IsLoopback()) {
			into[nft.Frontend{IP: ip, Proto: b.proto, Port: b.port.HostPort}] = netip.AddrPortFrom(target, b.port.ContainerPort)
		}
	}
}

func (b *binding) close() {
	for _, p := range b.proxies {
		_ = p.Close() // the socket is closed whatever it says
	}
	b.proxies = nil
}

// forgetFlows makes the kernel forget UDP flows from before the ports changed:
// they would go on as they were decided then, as long as they do not pause.
func (m *Manager) forgetFlows(ctx context.Context, bindings []*binding) {
	var filter staleFlows
	for _, b := range bindings {
		if b.proto == unix.IPPROTO_UDP {
			filter = append(filter, b)
		}
	}
	if len(filter) == 0 {
		return
	}
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filter); err != nil {
			log.G(ctx).WithError(err).Warn("UDP clients of a published port may have to pause before they find its new container")
		}
	}
}

// staleFlows matches UDP flows to ports that were just published or closed.
type staleFlows []*binding

var _ netlink.CustomConntrackFilter = staleFlows(nil)

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (s staleFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	to, answers = to.Unmap(), answers.Unmap()
	return slices.ContainsFunc(s, func(b *binding) bool {
		if flow.Forward.DstPort != b.port.HostPort {
			return false
		}
		translated := answers == b.target4 || answers == b.target6
		// a flow that nobody translated: to the host itself before the port was
		// published, or past it, which is merely tracked anew
		return translated || to == answers && flow.Forward.SrcIP.Equal(flow.Reverse.DstIP)
	})
}
