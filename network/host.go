package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"gantry/network/nft"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostPrefixes lists what a new subnet must not overlap: addresses and routes
// of the host, except default routes, and its DNS servers.
func (m *Manager) hostPrefixes() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := whole(func() ([]netlink.Route, error) {
			return m.host.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return nil, fmt.Errorf("list routes of the host: %w", err)
		}
		for _, r := range routes {
			if p, ok := toPrefix(r.Dst); ok && p.Bits() > 0 && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsMulticast() {
				out = append(out, p)
			}
		}
		addrs, err := m.addresses(family)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			out = append(out, a.prefix)
		}
	}
	for _, s := range m.resolv.servers() {
		out = append(out, netip.PrefixFrom(s.Addr().WithZone(""), s.Addr().BitLen()))
	}
	return out, nil
}

// hostAddress is an address of an interface of the host.
type hostAddress struct {
	link   int
	prefix netip.Prefix // masked
}

func (m *Manager) addresses(family int) ([]hostAddress, error) {
	addrs, err := whole(func() ([]netlink.Addr, error) { return m.host.AddrList(nil, family) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of the host: %w", err)
	}
	var out []hostAddress
	for _, a := range addrs {
		if p, ok := toPrefix(a.IPNet); ok && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, hostAddress{a.LinkIndex, p})
		}
	}
	return out, nil
}

// whole repeats a list that changed while it was read, which makes it miss or
// repeat entries.
func whole[T any](list func() ([]T, error)) (got []T, err error) {
	for range 20 {
		if got, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return got, err
}

func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	if bits == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, ones).Masked(), true
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
}

// sysctl writes a value of the calling thread's network namespace; path as in
// "net/ipv4/ip_forward". One that has the value already is not written.
func sysctl(path, value string) error {
	file := filepath.Join("/proc/sys", path)
	if old, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		return fmt.Errorf("sysctl %s=%s: %w", path, value, err)
	}
	return nil
}

// lenient is for IPv6 settings on a host that has no IPv6.
func lenient(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func enabled(path string) bool {
	b, err := os.ReadFile(filepath.Join("/proc/sys", path))
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

// enableForwarding turns forwarding on. Where it was off, the host must not
// become a router for everybody by that: as Docker does, what no rule admits
// is dropped from then on.
func enableForwarding(ipv6 bool) error {
	path := "net/ipv4/ip_forward"
	if ipv6 {
		path = "net/ipv6/conf/all/forwarding"
	}
	if enabled(path) {
		return nil
	}
	if err := nft.DropForwarded(ipv6); err != nil {
		return err
	}
	if ipv6 {
		keepAutoconfiguration()
	}
	return sysctl(path, "1")
}

// keepAutoconfiguration makes interfaces that learn their address and default
// route from router advertisements go on doing so: a forwarding host ignores
// them unless accept_ra is 2 (kernel, ip-sysctl).
func keepAutoconfiguration() {
	files, _ := filepath.Glob("/proc/sys/net/ipv6/conf/*/accept_ra")
	for _, f := range files {
		switch name := filepath.Base(filepath.Dir(f)); name {
		case "all", "default", "lo":
			continue
		}
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == "1" {
			_ = os.WriteFile(f, []byte("2"), 0) // else only its IPv6 suffers
		}
	}
}

// bridgedTrafficIsFiltered tells whether the packet filter sees what passes
// within a bridge (module br_netfilter).
func bridgedTrafficIsFiltered() bool { return enabled("net/bridge/bridge-nf-call-iptables") }
