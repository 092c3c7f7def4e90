package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"gantry/network/proxy"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// ports says which sandbox holds a port of the host.
type ports map[heldPort]string

type heldPort struct {
	ip    netip.Addr
	proto string
	port  uint16
}

// ephemeralTries bounds the search for a port that is free in both families.
const ephemeralTries = 64

// bind reserves a port of the host by sockets, which serve at once.
func (m *Manager) bind(id string, p Port) (*binding, error) {
	b := &binding{port: p}
	switch p.Proto {
	case "tcp":
		b.proto = unix.IPPROTO_TCP
	case "udp":
		b.proto = unix.IPPROTO_UDP
	default:
		return nil, fmt.Errorf("port %d/%s: protocol %q is not supported, use tcp or udp: %w", p.ContainerPort, p.Proto, p.Proto, errdefs.ErrInvalidArgument)
	}
	if p.ContainerPort == 0 || p.HostPortEnd != 0 && p.HostPortEnd < p.HostPort {
		return nil, fmt.Errorf("port %s to %d: not a port or range of ports: %w", portName(p.HostIP, p.HostPort, p.Proto), p.ContainerPort, errdefs.ErrInvalidArgument)
	}
	var err error
	tries := ephemeralTries
	if p.HostPort != 0 {
		tries = int(max(p.HostPortEnd, p.HostPort)-p.HostPort) + 1
	}
	for i := range tries {
		port := p.HostPort
		if port != 0 {
			port += uint16(i)
		}
		if err = m.reservePort(id, b, port); err == nil {
			return b, nil
		}
		if !errors.Is(err, ErrPortInUse) {
			return nil, err
		}
	}
	return nil, err
}

// reservePort opens the sockets of one port: of both families when no address
// is named, IPv6 only where the host has it.
func (m *Manager) reservePort(id string, b *binding, port uint16) error {
	ips := []netip.Addr{b.port.HostIP}
	if !b.port.HostIP.IsValid() {
		ips = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	b.port.Bound = nil
	for _, ip := range ips {
		got, err := b.listen(ip, port)
		if len(ips) > 1 && ip.Is6() && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)) {
			continue
		}
		if err != nil {
			b.close()
			if errors.Is(err, unix.EADDRINUSE) {
				return &PortInUseError{HostIP: b.port.HostIP, HostPort: port, Proto: b.port.Proto, Holder: m.portHolder(ip, b.port.Proto, port)}
			}
			if errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("port %s: the host has no such address: %w: %w", portName(ip, port, b.port.Proto), errdefs.ErrInvalidArgument, err)
			}
			return fmt.Errorf("port %s: %w", portName(ip, port, b.port.Proto), err)
		}
		port = got
		b.port.Bound = append(b.port.Bound, ip)
	}
	b.port.HostPort, b.port.HostPortEnd = port, 0
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ip := range b.port.Bound {
		m.ports[heldPort{ip, b.port.Proto, port}] = id
	}
	return nil
}

// listen opens a socket and serves it. "tcp6" and "udp6" are IPv6 only in Go,
// so that both families can have the port.
func (b *binding) listen(ip netip.Addr, port uint16) (uint16, error) {
	family := "4"
	if ip.Is6() {
		family = "6"
	}
	address := net.JoinHostPort(ip.String(), strconv.Itoa(int(port)))
	if b.proto == unix.IPPROTO_TCP {
		l, err := net.Listen("tcp"+family, address)
		if err != nil {
			return 0, err
		}
		b.proxies = append(b.proxies, proxy.TCP(l.(*net.TCPListener), b.target))
		return l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
	}
	c, err := net.ListenPacket("udp"+family, address)
	if err != nil {
		return 0, err
	}
	b.proxies = append(b.proxies, proxy.UDP(c.(*net.UDPConn), b.target))
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}

func (b *binding) target() netip.AddrPort {
	if to := b.proxyTo.Load(); to != nil {
		return *to
	}
	return netip.AddrPort{}
}

func (m *Manager) forgetPort(b *binding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ip := range b.port.Bound {
		delete(m.ports, heldPort{ip, b.port.Proto, b.port.HostPort})
	}
}

// portHolder finds who holds a port at an address, or at all of them.
func (m *Manager) portHolder(ip netip.Addr, proto string, port uint16) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for held, id := range m.ports {
		if held.proto == proto && held.port == port && held.ip.Is4() == ip.Is4() &&
			(held.ip == ip || held.ip.IsUnspecified() || ip.IsUnspecified()) {
			return id
		}
	}
	return ""
}

// CheckPorts tells which of the ports could not be bound now, at most once
// each. Ephemeral ports are always free; of a range one must be.
func (m *Manager) CheckPorts(wanted []Port) []*PortInUseError {
	var busy []*PortInUseError
	for _, p := range wanted {
		if p.HostPort == 0 {
			continue
		}
		if p.Proto == "" {
			p.Proto = "tcp"
		}
		var err error
		for port := int(p.HostPort); port <= int(max(p.HostPort, p.HostPortEnd)); port++ {
			if err = m.tryPort(p, uint16(port)); err == nil {
				break
			}
		}
		if in := new(PortInUseError); errors.As(err, &in) {
			busy = append(busy, in)
		}
	}
	return busy
}

func (m *Manager) tryPort(p Port, port uint16) error {
	ips := []netip.Addr{p.HostIP}
	if !p.HostIP.IsValid() {
		ips = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, ip := range ips {
		if id := m.portHolder(ip, p.Proto, port); id != "" {
			return &PortInUseError{HostIP: p.HostIP, HostPort: port, Proto: p.Proto, Holder: id}
		}
		b := &binding{proto: unix.IPPROTO_TCP}
		if p.Proto == "udp" {
			b.proto = unix.IPPROTO_UDP
		}
		_, err := b.listen(ip, port)
		b.close()
		if errors.Is(err, unix.EADDRINUSE) {
			return &PortInUseError{HostIP: p.HostIP, HostPort: port, Proto: p.Proto}
		}
	}
	return nil
}
