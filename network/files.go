package network

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// systemdResolv holds the real servers where /etc/resolv.conf names only the
// local stub of systemd-resolved (resolved.conf(5)).
const systemdResolv = "/run/systemd/resolve/resolv.conf"

// resolvFile is what resolv.conf(5) says.
type resolvFile struct {
	servers         []netip.Addr
	search, options []string
}

func parseResolv(data []byte) (f resolvFile) {
	for line := range bytes.Lines(data) {
		text, _, _ := strings.Cut(string(line), "#")
		text, _, _ = strings.Cut(text, ";")
		fields := strings.Fields(text)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil && !slices.Contains(f.servers, a) {
				f.servers = append(f.servers, a)
			}
		case "search", "domain": // the last one counts
			f.search = fields[1:]
		case "options":
			f.options = append(f.options, fields[1:]...)
		}
	}
	return f
}

// ResolvMode says whose name service a container has.
type ResolvMode int

const (
	ResolvEmbedded ResolvMode = iota // on a network with names: ours, at 127.0.0.11
	ResolvCopy                       // on the default network, or on none: the host's servers
	ResolvHost                       // in the host's namespace: the host's file as it is
)

// ResolvConf renders a container's resolv.conf out of the host's.
func ResolvConf(mode ResolvMode, host []byte, d DNS) []byte {
	if mode == ResolvHost && len(d.Servers)+len(d.Search)+len(d.Options) == 0 {
		return host
	}
	f := parseResolv(host)
	if len(d.Servers) > 0 {
		f.servers = d.Servers
	} else if mode == ResolvCopy {
		f.servers = slices.DeleteFunc(f.servers, netip.Addr.IsLoopback)
	}
	if mode == ResolvEmbedded {
		f.servers = []netip.Addr{embedded}
	}
	if len(d.Search) > 0 {
		f.search = d.Search
	}
	if len(d.Options) > 0 {
		f.options = d.Options
	}
	// Names of containers have no dots, so they must be asked for as they are first.
	if mode == ResolvEmbedded && !slices.ContainsFunc(f.options, func(o string) bool { return strings.HasPrefix(o, "ndots:") }) {
		f.options = append(slices.Clone(f.options), "ndots:0")
	}
	var b bytes.Buffer
	b.WriteString("# made by gantry\n")
	for _, s := range f.servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(f.search) > 0 && !slices.Equal(f.search, []string{"."}) { // Docker's way to say: none
		fmt.Fprintf(&b, "search %s\n", strings.Join(f.search, " "))
	}
	if len(f.options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(f.options, " "))
	}
	return b.Bytes()
}

// ResolvConf reads the host's file and renders a container's. Where the host
// has loopback servers only, containers that must reach real ones are given
// those that systemd-resolved asks.
func (m *Manager) ResolvConf(mode ResolvMode, d DNS) ([]byte, error) {
	host, err := os.ReadFile(m.cfg.ResolvConf)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if mode == ResolvCopy && !slices.ContainsFunc(parseResolv(host).servers, func(a netip.Addr) bool { return !a.IsLoopback() }) {
		if real, err := os.ReadFile(systemdResolv); err == nil {
			host = real
		}
	}
	return ResolvConf(mode, host, d), nil
}

// HostsFile renders a container's /etc/hosts: addrs are its own, for its host
// name; extra are "name:address" or "name=address", where the address may be
// host-gateway, which stands for gateways. Errors are
// errdefs.ErrInvalidArgument.
func HostsFile(hostname, domain string, addrs []netip.Addr, extra []string, gateways []netip.Addr) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("127.0.0.1\tlocalhost\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::\tip6-localnet\n" +
		"ff00::\tip6-mcastprefix\n" +
		"ff02::1\tip6-allnodes\n" +
		"ff02::2\tip6-allrouters\n")
	for _, e := range extra {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			name, value, ok = strings.Cut(e, ":")
		}
		if !ok || name == "" {
			return nil, fmt.Errorf("extra host %q: write name:address: %w", e, errdefs.ErrInvalidArgument)
		}
		if value == "host-gateway" {
			if len(gateways) == 0 {
				return nil, fmt.Errorf("extra host %q: the container has no gateway to the host: %w", e, errdefs.ErrInvalidArgument)
			}
			for _, g := range gateways {
				fmt.Fprintf(&b, "%s\t%s\n", g, name)
			}
			continue
		}
		a, err := netip.ParseAddr(strings.Trim(value, "[]"))
		if err != nil {
			return nil, fmt.Errorf("extra host %q: %q is not an address: %w", e, value, errdefs.ErrInvalidArgument)
		}
		fmt.Fprintf(&b, "%s\t%s\n", a, name)
	}
	if hostname != "" {
		for _, a := range addrs {
			if a.IsValid() {
				b.WriteString(HostsLine(a, OwnNames(hostname, domain)...))
			}
		}
	}
	return b.Bytes(), nil
}

// OwnNames are those that a container has in its own /etc/hosts.
func OwnNames(hostname, domain string) []string {
	if domain != "" {
		return []string{hostname + "." + domain, hostname}
	}
	return []string{hostname}
}

// HostsLine is an entry of hosts(5).
func HostsLine(addr netip.Addr, names ...string) string {
	return fmt.Sprintf("%s\t%s\n", addr, strings.Join(names, " "))
}

// EditHosts takes lines out of a hosts file and puts others at its end; what
// else a container's user wrote there stays. Lines that are there are not added
// again.
func EditHosts(current []byte, remove, add []string) []byte {
	var b bytes.Buffer
	have := map[string]bool{}
	for line := range bytes.Lines(current) {
		if l := string(line); !slices.Contains(remove, l) || slices.Contains(add, l) {
			b.Write(line)
			have[l] = true
		}
	}
	if b.Len() > 0 && b.Bytes()[b.Len()-1] != '\n' {
		b.WriteByte('\n')
	}
	for _, l := range add {
		if !have[l] {
			b.WriteString(l)
		}
	}
	return b.Bytes()
}
