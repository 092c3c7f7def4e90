package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gantry/network"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	mobynet "github.com/moby/moby/api/types/network"
)

// Options of an endpoint, by Docker's names.
const (
	optIfName  = "com.docker.network.endpoint.ifname"
	optSysctls = "com.docker.network.endpoint.sysctls"
)

// ConnectNetwork gives a container a place on a network, at once when it runs.
// The record says so first: a daemon that is started after a crash completes it.
func (e *Engine) ConnectNetwork(ctx context.Context, ref string, req mobynet.ConnectRequest) error {
	c, err := e.find(req.Container)
	if err != nil {
		return err
	}
	n, err := e.net.Get(ref)
	if err != nil {
		return err
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	old, st, err := c.changeable()
	if err != nil {
		return err
	}
	if err := mayConnect(&old, n.Name); err != nil {
		return err
	}
	settings := req.EndpointConfig
	if settings == nil {
		settings = &mobynet.EndpointSettings{}
	}
	a := attachment{Network: n.Name, Settings: asked(settings)}
	if err := checkEndpoint(n, a.Settings); err != nil {
		return err
	}
	at := slices.IndexFunc(old.Networks, func(a attachment) bool { return a.Network == n.Name })
	if at >= 0 && st.alive() {
		return fmt.Errorf("endpoint with name %s already exists in network %s: %w", old.Name, n.Name, errdefs.ErrPermissionDenied)
	}
	rec := old
	rec.Networks, rec.Detached = slices.Clone(old.Networks), false
	if at >= 0 {
		rec.Networks[at] = a
	} else {
		rec.Networks = append(rec.Networks, a)
	}
	if err := e.saveRecord(ctx, c, rec); err != nil {
		return fmt.Errorf("connect container %q to network %q: %w", rec.Name, n.Name, err)
	}
	if !st.alive() {
		return nil
	}
	ctx, cancel := e.cleanupContext() // the caller's impatience must not leave half of it
	defer cancel()
	if err := e.rewire(ctx, c, &rec); err != nil {
		return errJoin(err, e.saveRecord(ctx, c, old), e.rewire(ctx, c, &old))
	}
	if len(st.Ports) == 0 {
		if err := e.publish(ctx, c, &rec); err != nil {
			return errJoin(err, e.saveRecord(ctx, c, old), e.rewire(ctx, c, &old))
		}
	}
	e.emitNetwork(n, events.ActionConnect, map[string]string{"container": c.id})
	return e.noteEnd(ctx, c)
}

// noteEnd takes back what a run has on networks when it ended while it was
// given that: its end was dealt with before.
func (e *Engine) noteEnd(ctx context.Context, c *ctr) error {
	c.mu.Lock()
	running := c.run != nil && !c.run.dead
	c.mu.Unlock()
	if running {
		return nil
	}
	e.net.SetLive(c.id, false)
	return e.closePorts(ctx, c)
}

// DisconnectNetwork takes a container's place on a network away. When the network
// is not there any more, force does so, and so does a container that is stopped:
// it could not be started again otherwise.
func (e *Engine) DisconnectNetwork(ctx context.Context, ref string, req mobynet.DisconnectRequest) error {
	c, err := e.find(req.Container)
	if err != nil {
		return err
	}
	n, missing := e.net.Get(ref)
	gone := errdefs.IsNotFound(missing)
	if missing != nil && !gone {
		return missing
	}
	if gone {
		n.Name = ref
	}
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	old, st, err := c.changeable()
	if err != nil {
		return err
	}
	if old.HostConfig.NetworkMode.IsHost() || n.Name == network.HostName {
		return fmt.Errorf("container cannot be disconnected from host network or connected to host network: %w", errdefs.ErrInvalidArgument)
	}
	if gone && !req.Force && (st.alive() || !slices.Contains(networkNames(&old), n.Name)) {
		return missing
	}
	if !slices.Contains(networkNames(&old), n.Name) {
		return fmt.Errorf("container %s is not connected to network %s: %w", c.id, n.Name, errdefs.ErrNotFound)
	}
	rec := old
	rec.Networks = slices.DeleteFunc(slices.Clone(old.Networks), func(a attachment) bool { return a.Network == n.Name })
	rec.Detached = len(rec.Networks) == 0
	if err := e.saveRecord(ctx, c, rec); err != nil {
		return fmt.Errorf("disconnect container %q from network %q: %w", rec.Name, n.Name, err)
	}
	ctx, cancel := e.cleanupContext()
	defer cancel()
	if st.alive() {
		err = e.rewire(ctx, c, &rec)
	} else {
		err = errJoin(ignoreNotFound(e.net.Disconnect(ctx, c.id, n.Name)), c.update(func(s *state) { s.Endpoints = without(s.Endpoints, n.Name) }))
	}
	if err != nil {
		return fmt.Errorf("disconnect container %q from network %q: %w", rec.Name, n.Name, err)
	}
	if st.alive() {
		if err := e.noteEnd(ctx, c); err != nil {
			return err
		}
	}
	if !gone {
		e.emitNetwork(n, events.ActionDisconnect, map[string]string{"container": c.id})
	}
	return nil
}

func without(eps map[string]*mobynet.EndpointSettings, name string) map[string]*mobynet.EndpointSettings {
	out := map[string]*mobynet.EndpointSettings{}
	for k, v := range eps {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// changeable returns what a container is, unless it is being removed.
func (c *ctr) changeable() (record, state, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.st.Status == container.StateRemoving || c.st.Status == container.StateDead {
		return c.rec, c.st, fmt.Errorf("container %s is marked for removal and cannot be connected or disconnected to the network: %w", c.id, errdefs.ErrConflict)
	}
	return c.rec, c.st, nil
}

// saveRecord replaces a container's record. The operation lock is held.
func (e *Engine) saveRecord(ctx context.Context, c *ctr, rec record) error {
	b, err := json.Marshal(rec)
	if err == nil {
		err = e.rt.UpdateRecord(ctx, c.id, b)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rec = rec
	return nil
}

// reattach puts a container that was taken off its last network back on the
// one that it was made for, as Docker does at its next start.
func (e *Engine) reattach(ctx context.Context, c *ctr, rec *record) error {
	nets, err := e.attachments(nil, &rec.HostConfig)
	if err != nil {
		return err
	}
	rec.Networks, rec.Detached = nets, false
	return e.saveRecord(ctx, c, *rec)
}

// networkNames are the networks that a container is on, host and none included.
func networkNames(rec *record) []string {
	var names []string
	for _, a := range rec.Networks {
		names = append(names, a.Network)
	}
	if mode := rec.HostConfig.NetworkMode; len(names) == 0 && !rec.Detached && (mode.IsHost() || mode.IsNone()) {
		names = append(names, string(mode))
	}
	return names
}

// mayConnect tells why a container cannot be on a network, in Docker's words.
func mayConnect(rec *record, name string) error {
	invalid := func(text string) error { return fmt.Errorf("%s: %w", text, errdefs.ErrInvalidArgument) }
	mode := rec.HostConfig.NetworkMode
	on := networkNames(rec)
	switch {
	case mode.IsContainer(), mode.IsHost() && name != network.HostName:
		return invalid("container sharing network namespace with another container or host cannot be connected to any other network")
	case name == network.HostName:
		return invalid("container cannot be disconnected from host network or connected to host network")
	case slices.Contains(on, network.NoneName) && name != network.NoneName, name == network.NoneName && len(on) > 0:
		return invalid("container cannot be connected to multiple networks with one of the networks in private (none) mode")
	case name == network.NoneName:
		return invalid("a container is connected to network none when it is created, or not at all")
	}
	return nil
}

// attachments are a container's networks in order of priority, checked, under
// the networks' names. Without any, the mode names the only one.
func (e *Engine) attachments(nets []attachment, h *container.HostConfig) ([]attachment, error) {
	if err := checkPorts(h); err != nil {
		return nil, err
	}
	if err := checkMode(h); err != nil {
		return nil, err
	}
	if h.NetworkMode.IsBridge() || h.NetworkMode.IsDefault() {
		for _, name := range linksOf(h.Links) {
			if _, err := e.find(name); err != nil {
				return nil, fmt.Errorf("could not get container for %s: %w", name, asSetting(err))
			}
		}
	}
	mode := h.NetworkMode
	shared := mode.IsHost() || mode.IsNone() || mode.IsContainer()
	if mode.IsDefault() || mode == "" {
		mode = network.DefaultName
	}
	if !shared {
		n, err := e.net.Get(string(mode))
		if err != nil {
			return nil, asSetting(err)
		}
		mode = container.NetworkMode(n.Name)
		h.NetworkMode = mode
		if len(nets) == 0 {
			nets = []attachment{{Network: n.Name}}
		}
	}
	out := make([]attachment, 0, len(nets))
	for _, a := range nets {
		if a.Network == "default" {
			a.Network = string(mode)
		}
		if mode.IsContainer() && (a.Network == string(mode) || strings.HasPrefix(a.Network, "container:")) {
			if len(a.Settings.MacAddress) > 0 {
				return nil, fmt.Errorf("conflicting options: mac-address and the network mode: %w", errdefs.ErrInvalidArgument)
			}
			continue
		}
		n, err := e.net.Get(a.Network)
		if err != nil {
			return nil, asSetting(err)
		}
		settings := asked(&a.Settings)
		if err := checkEndpoint(n, settings); err != nil {
			return nil, err
		}
		if shared {
			if n.Name != string(mode) {
				return nil, mayConnect(&record{HostConfig: *h}, n.Name)
			}
			continue
		}
		if err := mayConnect(&record{HostConfig: *h, Networks: out}, n.Name); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(b attachment) bool { return b.Network == n.Name }) {
			return nil, fmt.Errorf("network %q is specified multiple times: %w", n.Name, errdefs.ErrInvalidArgument)
		}
		out = append(out, attachment{Network: n.Name, Settings: settings})
	}
	if shared {
		return nil, nil
	}
	return out, nil
}

// asSetting makes of an error about something that a container asks for one
// about the request: clients take "not found" for the image.
func asSetting(err error) error {
	if !errdefs.IsNotFound(err) {
		return err
	}
	return fmt.Errorf("%s: %w", strings.TrimSuffix(err.Error(), ": "+errdefs.ErrNotFound.Error()), errdefs.ErrInvalidArgument)
}

// checkMode refuses what a network that belongs to somebody else cannot have.
func checkMode(h *container.HostConfig) error {
	mode, why := h.NetworkMode, ""
	switch {
	case mode.IsHost() && len(h.Links) > 0:
		why = "host type networking can't be used with links. This would result in undefined behavior"
	case !mode.IsContainer():
	case len(h.Links) > 0:
		why = "container type network can't be used with links. This would result in undefined behavior"
	case len(h.DNS) > 0:
		why = "dns and the network mode"
	case len(h.ExtraHosts) > 0:
		why = "custom host-to-IP mapping and the network mode"
	case len(h.PortBindings) > 0 || h.PublishAllPorts:
		why = "port publishing and the container type network mode"
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("conflicting options: %s: %w", why, errdefs.ErrInvalidArgument)
}

// asked is the part of an endpoint's settings that is for users to choose:
// clients send the rest back as inspect showed it.
func asked(s *mobynet.EndpointSettings) mobynet.EndpointSettings {
	c := s.Copy()
	return mobynet.EndpointSettings{
		IPAMConfig: c.IPAMConfig, Links: c.Links, Aliases: c.Aliases, DriverOpts: c.DriverOpts, GwPriority: c.GwPriority, MacAddress: c.MacAddress,
	}
}

// checkEndpoint refuses settings that a network cannot give.
func checkEndpoint(n network.Network, s mobynet.EndpointSettings) error {
	var why []string
	custom := container.NetworkMode(n.Name).IsUserDefined()
	if len(s.Aliases) > 0 && !custom {
		why = append(why, "network-scoped aliases are only supported for user-defined networks")
	}
	if ipam := s.IPAMConfig; ipam != nil {
		switch addrs := []netip.Addr{ipam.IPv4Address, ipam.IPv6Address}; {
		case !custom && (addrs[0].IsValid() || addrs[1].IsValid()):
			why = append(why, "user specified IP address is supported on user defined networks only")
		case custom:
			if addrs[0].IsValid() && !addrs[0].Is4() || addrs[1].IsValid() && !addrs[1].Is6() {
				why = append(why, "an IPv4 or IPv6 address is of the other family")
			} else if err := n.CheckEndpoint(addrs...); err != nil {
				why = append(why, strings.TrimSuffix(err.Error(), ": "+errdefs.ErrInvalidArgument.Error()))
			}
		}
	}
	for k := range s.DriverOpts {
		if strings.HasPrefix(k, "com.docker.network.") && k != optIfName && k != optSysctls {
			why = append(why, fmt.Sprintf("driver option %q is not supported", k))
		}
	}
	if name, ok := s.DriverOpts[optIfName]; ok && !validInterface(name) {
		why = append(why, fmt.Sprintf("interface name %q is invalid", name))
	}
	for key := range endpointSysctls(s.DriverOpts[optSysctls]) {
		if f := strings.Split(key, "."); len(f) < 5 || f[0] != "net" || f[3] != "IFNAME" {
			why = append(why, fmt.Sprintf("sysctl %q is not of the form net.X.Y.IFNAME.Z", key))
		}
	}
	if len(why) == 0 {
		return nil
	}
	slices.Sort(why)
	return fmt.Errorf("invalid config for network %s: invalid endpoint settings:\n%s: %w", n.Name, strings.Join(why, "\n"), errdefs.ErrInvalidArgument)
}

func validInterface(name string) bool {
	return name != "" && len(name) <= 15 && name != "." && name != ".." && name != "lo" && !strings.ContainsAny(name, "/: \t\n")
}

// endpointSysctls reads "net.ipv4.conf.IFNAME.log_martians=1,…".
func endpointSysctls(s string) map[string]string {
	if s == "" {
		return nil
	}
	out := map[string]string{}
	for _, kv := range strings.Split(s, ",") {
		k, v, _ := strings.Cut(kv, "=")
		out[k] = v
	}
	return out
}
