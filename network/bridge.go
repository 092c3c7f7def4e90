package network

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"gantry/network/ipam"
	"gantry/network/nft"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// errCrowded says that another daemon has the subnet.
var errCrowded = fmt.Errorf("subnet is in use on the host: %w", errdefs.ErrConflict)

// bridge is a network in memory:
//
//	reserved → up ⇄ down (the default network only) → removing
type bridge struct {
	rec  Network
	opts settings

	// mu orders changes of the device; index is 0 while it is down.
	mu    sync.Mutex
	index int

	// Manager.mu guards the rest.
	v4, v6   *ipam.Subnet // nil without the family
	members  map[string]bool
	leaving  map[string]bool // members whose interfaces are being deleted
	removing bool
}

func newSubnet(c network.IPAMConfig) (*ipam.Subnet, error) {
	var aux []netip.Addr
	for _, a := range c.AuxAddress {
		aux = append(aux, a)
	}
	return ipam.NewSubnet(c.Subnet, c.IPRange, c.Gateway, aux...)
}

// newBridge makes a network out of its record and puts its gateways into it.
func newBridge(rec Network) (*bridge, error) {
	opts, err := parseOptions(rec.Network)
	if err != nil {
		return nil, fmt.Errorf("network %q: %w", rec.Name, err)
	}
	b := &bridge{opts: opts, members: map[string]bool{}, leaving: map[string]bool{}}
	rec.IPAM.Config = slices.Clone(rec.IPAM.Config)
	for i, c := range rec.IPAM.Config {
		s, err := newSubnet(c)
		if err != nil {
			return nil, fmt.Errorf("network %q: %w", rec.Name, err)
		}
		rec.IPAM.Config[i].Gateway = s.Gateway()
		if c.Subnet.Addr().Is4() {
			b.v4 = s
		} else {
			b.v6 = s
		}
	}
	b.rec = rec
	return b, nil
}

func (b *bridge) record() Network { return b.rec }

func (b *bridge) subnets() (out []netip.Prefix) {
	for _, s := range []*ipam.Subnet{b.v4, b.v6} {
		if s != nil {
			out = append(out, s.Prefix())
		}
	}
	return out
}

// alias marks a device as ours and says what it is for.
func (m *Manager) alias(id string) string { return "gantry:" + m.cfg.Instance + ":" + id }

// bringUp makes device, addresses and rules of a network right, whatever is
// there. When it fails, the device is not left behind.
func (m *Manager) bringUp(ctx context.Context, b *bridge) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.index != 0 {
		_, err := m.host.LinkByIndex(b.index)
		if missing := new(netlink.LinkNotFoundError); !errors.As(err, missing) {
			return err
		}
		b.index = 0 // somebody took the device away
	}
	index, fresh, err := m.makeDevice(b)
	if err != nil {
		return fmt.Errorf("network %q: bridge %q: %w", b.rec.Name, b.rec.Bridge, err)
	}
	b.index = index
	err = m.configure(b)
	if err == nil && fresh {
		err = m.crowded(b)
	}
	if err == nil {
		err = m.admit(ctx, b)
	}
	if err != nil {
		if !fresh {
			b.index = 0
			return fmt.Errorf("network %q: bridge %q: %w", b.rec.Name, b.rec.Bridge, err)
		}
		return fmt.Errorf("network %q: bridge %q: %w", b.rec.Name, b.rec.Bridge, errors.Join(err, m.takeDown(b)))
	}
	return nil
}

// makeDevice returns the bridge's index. A device that the user made before is
// borrowed.
func (m *Manager) makeDevice(b *bridge) (index int, fresh bool, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = b.rec.Bridge, b.opts.mtu
	attrs.HardwareAddr = hardwareAddr(b.rec.ID, m.cfg.Instance) // else it follows the lowest port's
	dev := &netlink.Bridge{LinkAttrs: attrs}
	err = m.host.LinkAdd(dev)
	if err == nil {
		if dev.Index == 0 {
			return 0, true, errors.New("the device went away")
		}
		return dev.Index, true, m.host.LinkSetAlias(dev, m.alias(b.rec.ID))
	}
	if !errors.Is(err, unix.EEXIST) {
		return 0, false, err
	}
	link, err := m.host.LinkByName(b.rec.Bridge)
	if err != nil {
		return 0, false, err
	}
	switch alias := link.Attrs().Alias; {
	case link.Type() != "bridge":
		return 0, false, fmt.Errorf("the host has a device of that name which is no bridge (%s): %w", link.Type(), errdefs.ErrConflict)
	case alias == m.alias(b.rec.ID):
	case alias == "" && slices.Equal(link.Attrs().HardwareAddr, attrs.HardwareAddr):
		// ours, from a process that was killed before it could say so
		return link.Attrs().Index, true, m.host.LinkSetAlias(link, m.alias(b.rec.ID))
	case strings.HasPrefix(alias, "gantry:"):
		return 0, false, fmt.Errorf("the device belongs to another network (%s): %w", alias, errdefs.ErrConflict)
	case b.opts.bridge == "":
		return 0, false, fmt.Errorf("the host has a bridge of that name already: %w", errdefs.ErrConflict)
	default:
		m.mu.Lock()
		b.rec.Borrowed = true
		m.mu.Unlock()
	}
	return link.Attrs().Index, false, nil
}

func (m *Manager) configure(b *bridge) error {
	conf4, conf6 := "net/ipv4/conf/"+b.rec.Bridge+"/", "net/ipv6/conf/"+b.rec.Bridge+"/"
	steps := []error{sysctl(conf4+"route_localnet", "1")}
	if b.v6 == nil {
		steps = append(steps, lenient(sysctl(conf6+"disable_ipv6", "1")))
	} else {
		steps = append(steps, sysctl(conf6+"disable_ipv6", "0"), sysctl(conf6+"accept_ra", "0"), sysctl(conf6+"accept_dad", "0"))
	}
	dev := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: b.index}}
	for _, s := range []*ipam.Subnet{b.v4, b.v6} {
		if s != nil {
			a := &netlink.Addr{IPNet: ipNet(s.Gateway(), s.Prefix().Bits())}
			if s.Gateway().Is6() {
				a.Flags = unix.IFA_F_NODAD
			}
			steps = append(steps, wrap(m.host.AddrReplace(dev, a), "address %s", s.Gateway()))
		}
	}
	steps = append(steps, wrap(m.host.LinkSetUp(dev), "set up"))
	return errors.Join(steps...)
}

// crowded tells whether another interface of the host has part of the subnet.
// It looks after the own address is there: of two daemons that chose the same,
// at least the later one sees the other, and whoever sees one gives way.
func (m *Manager) crowded(b *bridge) error {
	for family, s := range map[int]*ipam.Subnet{netlink.FAMILY_V4: b.v4, netlink.FAMILY_V6: b.v6} {
		if s == nil {
			continue
		}
		addrs, err := m.addresses(family)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			if a.link != b.index && a.prefix.Overlaps(s.Prefix()) {
				name := fmt.Sprint(a.link)
				if l, err := m.host.LinkByIndex(a.link); err == nil {
					name = l.Attrs().Name
				}
				return fmt.Errorf("subnet %s overlaps %s of interface %q: choose another one: %w", s.Prefix(), a.prefix, name, errCrowded)
			}
		}
	}
	return nil
}

// admit opens the packet filter for a bridge.
func (m *Manager) admit(ctx context.Context, b *bridge) error {
	if !b.rec.Internal {
		for ipv6, s := range map[bool]*ipam.Subnet{false: b.v4, true: b.v6} {
			if s != nil {
				if err := enableForwarding(ipv6); err != nil {
					return err
				}
			}
		}
	}
	return foreign(ctx, m.fw.AddBridges(b.filter()))
}

// filter is the network as the packet filter sees it.
func (b *bridge) filter() nft.Bridge {
	return nft.Bridge{
		Name: b.rec.Bridge, Subnets: b.subnets(),
		Masquerade: b.opts.masq && !b.rec.Internal, Internal: b.rec.Internal, Isolated: !b.opts.icc,
	}
}

// foreign logs what others' chains refuse: it is not ours to insist.
func foreign(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, nft.ErrForeign) {
		log.G(ctx).WithError(err).Warn("a packet filter of the host may drop traffic of containers")
		return nil
	}
	return err
}

// takeDown removes device and rules of a network. The caller holds b.mu.
func (m *Manager) takeDown(b *bridge) error {
	err := m.fw.RemoveBridge(b.rec.Bridge)
	if errors.Is(err, nft.ErrForeign) {
		err = nil
	}
	if b.index != 0 && !b.rec.Borrowed {
		err = errors.Join(err, m.deleteLink(b.index))
	}
	b.index = 0
	if err != nil {
		return fmt.Errorf("network %q: bridge %q: %w", b.rec.Name, b.rec.Bridge, err)
	}
	return nil
}

// deleteLink removes an interface of the host; one that is gone is no error.
// It takes tens of milliseconds, so it has a socket of its own.
func (m *Manager) deleteLink(index int) error {
	err := netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}})
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// hardwareAddr makes a stable, locally administered unicast address.
func hardwareAddr(of ...string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return append(net.HardwareAddr{0x02, 0x42}, sum[:4]...)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
