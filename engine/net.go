package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"

	"gantry/network"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	mobynet "github.com/moby/moby/api/types/network"
)

var noAddr netip.Addr

// sandbox is what a container needs of the network: names, fixed addresses and,
// with again, those that it had before.
func (e *Engine) sandbox(c *ctr, rec *record, again bool) network.Sandbox {
	st := c.state()
	s := network.Sandbox{ID: rec.ID, Hostname: rec.Config.Hostname, DNS: e.dns(&rec.HostConfig)}
	for _, a := range rec.Networks {
		ep := network.Endpoint{
			Network: a.Network, Aliases: e.namesOn(rec, a), Links: linksOf(append(slices.Clone(rec.HostConfig.Links), a.Settings.Links...)), GatewayPriority: a.Settings.GwPriority,
			IfName: a.Settings.DriverOpts[optIfName], Sysctls: endpointSysctls(a.Settings.DriverOpts[optSysctls]),
		}
		if had := st.Endpoints[a.Network]; had != nil && again {
			ep.IPv4, ep.IPv6, ep.MAC = had.IPAddress, had.GlobalIPv6Address, net.HardwareAddr(had.MacAddress)
		}
		if ipam := a.Settings.IPAMConfig; ipam != nil {
			if ipam.IPv4Address.IsValid() {
				ep.IPv4 = ipam.IPv4Address
			}
			if ipam.IPv6Address.IsValid() {
				ep.IPv6 = ipam.IPv6Address
			}
			ep.More = ipam.LinkLocalIPs
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
			return "", asSetting(err)
		}
	}
	eps := e.endpointsOf(rec, got)
	if err := c.update(func(s *state) { s.Endpoints = eps }); err != nil {
		return "", err
	}
	return got.Path, e.writeFiles(c, rec, eps, got.EmbeddedDNS, nil)
}

// plug makes a container's network ready for a run: namespace, addresses, DNS,
// published ports. For one that runs already, under a daemon that was started
// after it, it restores what should be there.
func (e *Engine) plug(ctx context.Context, c *ctr, rec *record) error {
	mode := rec.HostConfig.NetworkMode
	if mode.IsContainer() {
		return nil
	}
	st := c.state()
	running := st.alive()
	if rec.Detached && !running {
		if err := e.reattach(ctx, c, rec); err != nil {
			return err
		}
	}
	if running {
		if err := e.rewire(ctx, c, rec); err != nil {
			return err
		}
		return e.publish(ctx, c, rec)
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
	links, err := e.legacyLinks(rec)
	if err != nil {
		return err
	}
	eps := e.endpointsOf(rec, got)
	if err := c.update(func(s *state) { s.Endpoints = eps }); err != nil {
		return err
	}
	if err := e.writeFiles(c, rec, eps, got.EmbeddedDNS, links); err != nil {
		return err
	}
	if err := e.publish(ctx, c, rec); err != nil {
		return err
	}
	e.emitNetworks(rec, events.ActionConnect)
	return nil
}

// rewire makes the network of a running container what its record says: from
// any point at which a daemon may have been killed.
func (e *Engine) rewire(ctx context.Context, c *ctr, rec *record) error {
	if rec.HostConfig.NetworkMode.IsHost() {
		return nil
	}
	had := c.state().Endpoints
	got, err := e.net.Ensure(ctx, e.sandbox(c, rec, true))
	if err != nil {
		return err
	}
	eps := e.endpointsOf(rec, got)
	// before the state: it tells which lines are old ones
	if err := e.editFiles(c, rec, had, eps, got.EmbeddedDNS); err != nil {
		return err
	}
	return c.update(func(s *state) { s.Endpoints = eps })
}

// unplug ends what belongs to a run: the published ports.
func (e *Engine) unplug(ctx context.Context, c *ctr) error {
	err := e.closePorts(ctx, c)
	rec := c.record()
	e.emitNetworks(&rec, events.ActionDisconnect)
	return err
}

func (e *Engine) closePorts(ctx context.Context, c *ctr) error {
	err := ignoreNotFound(e.net.Unpublish(ctx, c.id))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.st.Ports = nil
	return err
}

// holdAddresses takes the place of a container that does not run on its
// networks, so that nobody else gets its addresses while its namespace is there.
func (e *Engine) holdAddresses(ctx context.Context, c *ctr) error {
	rec := c.record()
	if mode := rec.HostConfig.NetworkMode; mode.IsContainer() || mode.IsHost() || len(c.state().Endpoints) == 0 {
		return nil
	}
	if _, err := os.Stat(e.net.Path(c.id)); err != nil {
		return nil // a reboot took it, and the addresses
	}
	if _, err := e.net.Ensure(ctx, e.sandbox(c, &rec, true)); err != nil {
		// whoever has them now needs them more
		return e.net.Release(ctx, c.id)
	}
	e.net.SetLive(c.id, false)
	return nil
}

// addressesFirst puts containers behind the others that are still to get an
// address: it must not be one of theirs. A daemon was killed while it connected
// them.
func addressesFirst(cs []*ctr) []*ctr {
	waits := func(c *ctr) int {
		rec, st := c.record(), c.state()
		for _, a := range rec.Networks {
			if ep := st.Endpoints[a.Network]; ep == nil || !ep.IPAddress.IsValid() && !ep.GlobalIPv6Address.IsValid() {
				return 1
			}
		}
		return 0
	}
	slices.SortStableFunc(cs, func(a, b *ctr) int { return waits(a) - waits(b) })
	return cs
}

// emitNetworks tells that a container comes to its networks, or leaves them.
func (e *Engine) emitNetworks(rec *record, action events.Action) {
	for _, name := range networkNames(rec) {
		if n, err := e.net.Get(name); err == nil {
			e.emitNetwork(n, action, map[string]string{"container": rec.ID})
		}
	}
}

// endpointsOf are a container's places on its networks, with the addresses that
// it got.
func (e *Engine) endpointsOf(rec *record, got network.Result) map[string]*mobynet.EndpointSettings {
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
	return eps
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
