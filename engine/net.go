package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/network"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

var noAddr netip.Addr

// networksOf are a container's networks, in the order given. Without any, mode
// names the only one.
func networksOf(nets []attachment, mode container.NetworkMode) []attachment {
	if mode.IsHost() || mode.IsNone() || mode.IsContainer() {
		return nil
	}
	name := string(mode)
	if mode.IsDefault() {
		name = "bridge"
	}
	if len(nets) == 0 {
		return []attachment{{Network: name}}
	}
	return slices.Clone(nets)
}

// sandbox is what a container needs of the network: names, fixed addresses and,
// with again, those that it had before.
func (e *Engine) sandbox(c *ctr, rec *record, again bool) network.Sandbox {
	st := c.state()
	s := network.Sandbox{ID: rec.ID, Hostname: rec.Config.Hostname, DNS: e.dns(&rec.HostConfig)}
	for _, a := range rec.Networks {
		ep := network.Endpoint{Network: a.Network, Aliases: e.namesOn(rec, a), GatewayPriority: a.Settings.GwPriority}
		if had := st.Endpoints[a.Network]; had != nil && again {
			ep.IPv4, ep.IPv6, ep.MAC = had.IPAddress, had.GlobalIPv6Address, net.HardwareAddr(had.MacAddress)
		}
		if ipam := a.Settings.IPAMConfig; ipam != nil {
			ep.IPv4, ep.IPv6 = ipam.IPv4Address, ipam.IPv6Address
		}
		if len(a.Settings.MacAddress) > 0 {
			ep.MAC = net.HardwareAddr(a.Settings.MacAddress)
		}
		s.Endpoints = append(s.Endpoints, ep)
	}
	return s
}

// dns are a container's own settings of name service, else the daemon's.
func (e *Engine) dns(h *container.HostConfig) network.DNS {
	d := network.DNS{Servers: h.DNS, Search: h.DNSSearch, Options: h.DNSOptions}
	if len(d.Servers) == 0 {
		d.Servers = e.cfg.DNS.Servers
	}
	if len(d.Search) == 0 {
		d.Search = e.cfg.DNS.Search
	}
	if len(d.Options) == 0 {
		d.Options = e.cfg.DNS.Options
	}
	return d
}

// namesOn are the names by which a container is known on a network.
func (e *Engine) namesOn(rec *record, a attachment) []string {
	names := append([]string{rec.Name}, a.Settings.Aliases...)
	names = append(names, short(rec.ID))
	if rec.Config.Hostname != "" && rec.Config.Hostname != short(rec.ID) {
		names = append(names, rec.Config.Hostname)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(n string) bool { dup := seen[n]; seen[n] = true; return dup })
}

// prepareNetwork makes a container's network namespace with its addresses and
// the files that tell of them. A fixed address that its predecessor still has
// is left for the start.
func (e *Engine) prepareNetwork(ctx context.Context, c *ctr, rec *record) (netns string, err error) {
	mode := rec.HostConfig.NetworkMode
	if mode.IsContainer() {
		return e.net.Path(mode.ConnectedContainer()), nil
	}
	var got network.Result
	if !mode.IsHost() {
		s := e.sandbox(c, rec, false)
		got, err = e.net.Ensure(ctx, s)
		var used *network.AddressInUseError
		if errors.As(err, &used) && used.Holder != "gateway" && used.Holder != "reserved" {
			s.Endpoints = slices.DeleteFunc(s.Endpoints, func(ep network.Endpoint) bool { return ep.IPv4.IsValid() || ep.IPv6.IsValid() })
			got, err = e.net.Ensure(ctx, s)
		}
		if err != nil {
			return "", err
		}
	}
	if err := e.noteEndpoints(c, rec, got); err != nil {
		return "", err
	}
	return got.Path, e.writeFiles(c, rec, got.EmbeddedDNS)
}

// plug makes a container's network ready for a run: namespace, addresses, DNS,
// published ports. After a restart of the daemon or the host it restores what
// was there.
func (e *Engine) plug(ctx context.Context, c *ctr, rec *record) error {
	mode := rec.HostConfig.NetworkMode
	if mode.IsContainer() {
		return nil
	}
	var got network.Result
	if !mode.IsHost() {
		var err error
		got, err = e.net.Ensure(ctx, e.sandbox(c, rec, true))
		if errors.Is(err, network.ErrAddressInUse) { // somebody got it while this container was stopped
			got, err = e.net.Ensure(ctx, e.sandbox(c, rec, false))
		}
		if err != nil {
			return err
		}
	}
	if err := e.noteEndpoints(c, rec, got); err != nil {
		return err
	}
	if err := e.writeFiles(c, rec, got.EmbeddedDNS); err != nil {
		return err
	}
	ports := e.portsOf(rec, c.state().Ports)
	if len(ports) == 0 || len(rec.Networks) == 0 {
		return nil
	}
	bound, err := e.net.Publish(ctx, c.id, ports)
	if err != nil {
		return err
	}
	m := mobynet.PortMap{}
	for _, b := range bound {
		p, ok := mobynet.PortFrom(b.ContainerPort, mobynet.IPProtocol(b.Proto))
		if !ok {
			return fmt.Errorf("published port %d/%s: %w", b.ContainerPort, b.Proto, errdefs.ErrInvalidArgument)
		}
		for _, ip := range b.Bound {
			m[p] = append(m[p], mobynet.PortBinding{HostIP: ip, HostPort: strconv.Itoa(int(b.HostPort))})
		}
	}
	return c.update(func(s *state) { s.Ports = m })
}

// unplug ends what belongs to a run: the published ports.
func (e *Engine) unplug(ctx context.Context, c *ctr) error {
	err := ignoreNotFound(e.net.Unpublish(ctx, c.id))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.st.Ports = nil
	return err
}

// noteEndpoints keeps the addresses that a container got.
func (e *Engine) noteEndpoints(c *ctr, rec *record, got network.Result) error {
	eps := map[string]*mobynet.EndpointSettings{}
	for _, a := range rec.Networks {
		ep := a.Settings.Copy()
		ep.DNSNames = e.namesOn(rec, a)
		for _, g := range got.Endpoints {
			if g.Network != a.Network {
				continue
			}
			ep.NetworkID, ep.EndpointID = g.NetworkID, g.EndpointID
			ep.IPAddress, ep.IPPrefixLen, ep.Gateway = g.IPv4.Addr(), max(g.IPv4.Bits(), 0), g.Gateway4
			ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen, ep.IPv6Gateway = g.IPv6.Addr(), max(g.IPv6.Bits(), 0), g.Gateway6
			ep.MacAddress, ep.DNSNames = mobynet.HardwareAddr(g.MAC), g.Names
		}
		if ep.NetworkID == "" { // its address is still in use: the place is taken at the start
			if n, err := e.net.Get(a.Network); err == nil {
				ep.NetworkID = n.ID
			}
		}
		eps[a.Network] = ep
	}
	return c.update(func(s *state) { s.Endpoints = eps })
}

// writeFiles writes /etc/hosts, /etc/resolv.conf and /etc/hostname.
func (e *Engine) writeFiles(c *ctr, rec *record, embedded bool) error {
	st := c.state()
	h := &rec.HostConfig
	var addrs, gateways []netip.Addr
	mode := network.ResolvCopy
	if h.NetworkMode.IsHost() {
		mode = network.ResolvHost
		gateways = append(gateways, netip.AddrFrom4([4]byte{127, 0, 0, 1})) // the host is here
	}
	for _, a := range rec.Networks {
		ep := st.Endpoints[a.Network]
		if ep == nil {
			continue
		}
		for _, addr := range []netip.Addr{ep.IPAddress, ep.GlobalIPv6Address} {
			if addr.IsValid() {
				addrs = append(addrs, addr)
			}
		}
		if len(gateways) == 0 && ep.Gateway.IsValid() {
			gateways = append(gateways, ep.Gateway)
		}
	}
	if embedded {
		mode = network.ResolvEmbedded
	}
	hostsFile, err := network.HostsFile(rec.Config.Hostname, rec.Config.Domainname, addrs, h.ExtraHosts, gateways)
	if err != nil {
		return err
	}
	resolv, err := e.net.ResolvConf(mode, e.dns(h))
	if err != nil {
		return err
	}
	return errJoin(
		writeInPlace(filepath.Join(c.dir, "hosts"), hostsFile),
		writeInPlace(filepath.Join(c.dir, "resolv.conf"), resolv),
		writeInPlace(filepath.Join(c.dir, "hostname"), []byte(rec.Config.Hostname+"\n")),
	)
}

// portsOf are the ports that a container publishes. Those it had already, which
// an adopted container keeps, stand in for ephemeral ones.
func (e *Engine) portsOf(rec *record, had mobynet.PortMap) []network.Port {
	var out []network.Port
	if len(had) > 0 {
		for p, bs := range had {
			for _, b := range bs {
				n, _ := strconv.ParseUint(b.HostPort, 10, 16)
				out = append(out, network.Port{HostIP: b.HostIP, HostPort: uint16(n), ContainerPort: p.Num(), Proto: string(p.Proto())})
			}
		}
	} else {
		wanted := mobynet.PortMap{}
		for p, bs := range rec.HostConfig.PortBindings {
			wanted[p] = bs
		}
		if rec.HostConfig.PublishAllPorts {
			for p := range rec.Config.ExposedPorts {
				if len(wanted[p]) == 0 {
					wanted[p] = []mobynet.PortBinding{{}}
				}
			}
		}
		for p, bs := range wanted {
			for _, b := range bs {
				from, to, err := hostRange(b.HostPort)
				if err != nil {
					continue // create has refused it
				}
				out = append(out, network.Port{HostIP: b.HostIP, HostPort: from, HostPortEnd: to, ContainerPort: p.Num(), Proto: string(p.Proto())})
			}
		}
	}
	slices.SortFunc(out, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Proto, b.Proto), a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	return out
}

// hostRange reads a host port: "", "0", "8080" or "8080-8090".
func hostRange(s string) (from, to uint16, err error) {
	if s == "" {
		return 0, 0, nil
	}
	r, err := mobynet.ParsePortRange(s)
	if err != nil {
		return 0, 0, fmt.Errorf("host port %q: %v: %w", s, err, errdefs.ErrInvalidArgument)
	}
	return r.Start(), r.End(), nil
}

// busyPorts finds out which of the asked host ports cannot be bound now.
func (e *Engine) busyPorts(q scheduler.Query) map[scheduler.HostPort]string {
	out := map[scheduler.HostPort]string{}
	var ask []network.Port
	for _, p := range q.Ports {
		addr, _ := netip.ParseAddr(p.IP)
		ask = append(ask, network.Port{HostIP: addr, HostPort: p.Port, Proto: p.Protocol})
	}
	for i := range ask {
		for _, busy := range e.net.CheckPorts(ask[i : i+1]) {
			if busy.Holder == "" {
				out[q.Ports[i]] = "another process"
			} else if c, err := e.find(busy.Holder); err == nil && c.record().Config.Labels[labelProject] != q.Project {
				out[q.Ports[i]] = fmt.Sprintf("container %q", c.name())
			}
		}
	}
	return out
}

// missingBinds are those of the asked paths that do not exist.
func missingBinds(paths []string) []string {
	var out []string
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			out = append(out, p)
		}
	}
	return out
}

// renameInNetworks tells the name service of a container's new name.
func (e *Engine) renameInNetworks(c *ctr) error {
	rec := c.record()
	var errs []error
	for _, a := range rec.Networks {
		errs = append(errs, ignoreNotFound(e.net.SetNames(c.id, a.Network, e.namesOn(&rec, a))))
	}
	return errJoin(errs...)
}

func hasPort(st *state, v string) bool {
	for p := range st.Ports {
		if p.String() == v || p.Port() == v || strings.HasPrefix(p.String(), v+"/") {
			return true
		}
	}
	return false
}

func exposes(rec *record, v string) bool {
	for p := range rec.Config.ExposedPorts {
		if p.String() == v || p.Port() == v {
			return true
		}
	}
	return false
}

// fixedPorts are the host ports that a container always publishes, sorted.
func fixedPorts(m mobynet.PortMap) []scheduler.HostPort {
	var out []scheduler.HostPort
	for p, bs := range m {
		for _, b := range bs {
			from, to, err := hostRange(b.HostPort)
			if err != nil || from == 0 || to > from {
				continue
			}
			ip := ""
			if b.HostIP.IsValid() {
				ip = b.HostIP.String()
			}
			out = append(out, scheduler.HostPort{IP: ip, Port: from, Protocol: string(p.Proto())})
		}
	}
	slices.SortFunc(out, func(a, b scheduler.HostPort) int { return strings.Compare(a.String(), b.String()) })
	return out
}
