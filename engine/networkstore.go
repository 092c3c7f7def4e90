package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gantry/network"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	mobynet "github.com/moby/moby/api/types/network"
)

// CreateNetwork makes a network.
func (e *Engine) CreateNetwork(ctx context.Context, req mobynet.CreateRequest) (mobynet.CreateResponse, error) {
	unlock := e.exclusive("network " + req.Name)
	defer unlock()
	n, err := e.net.Create(ctx, req.Name, req, randomID())
	if err != nil {
		return mobynet.CreateResponse{}, err
	}
	e.emitNetwork(n, events.ActionCreate, nil)
	return mobynet.CreateResponse{ID: n.ID}, nil
}

func (e *Engine) emitNetwork(n network.Network, action events.Action, more map[string]string) {
	attrs := map[string]string{"name": n.Name, "type": n.Driver}
	for k, v := range more {
		attrs[k] = v
	}
	e.emit(events.NetworkEventType, action, n.ID, attrs)
}

// ListNetworks returns the networks that filters select, by name.
func (e *Engine) ListNetworks(_ context.Context, f Filters) ([]mobynet.Summary, error) {
	if err := f.known("name", "id", "label", "label!", "driver", "type", "scope", "dangling"); err != nil {
		return nil, err
	}
	for _, v := range f["type"] {
		if v != "custom" && v != "builtin" {
			return nil, fmt.Errorf("invalid filter: 'type'='%s': %w", v, errdefs.ErrInvalidArgument)
		}
	}
	dangling, err := f.boolean("dangling")
	if err != nil {
		return nil, err
	}
	any := func(key string, ok func(v string) bool) bool {
		return len(f[key]) == 0 || slices.ContainsFunc(f[key], ok)
	}
	out := []mobynet.Summary{}
	for _, n := range e.net.List() {
		custom := container.NetworkMode(n.Name).IsUserDefined()
		if any("name", func(v string) bool { return nameMatches(v, n.Name) }) &&
			any("id", func(v string) bool { return strings.HasPrefix(n.ID, v) }) &&
			any("driver", func(v string) bool { return n.Driver == v }) &&
			any("type", func(v string) bool { return (v == "custom") == custom }) &&
			any("scope", func(v string) bool { return v == n.Scope }) &&
			(dangling == nil || *dangling == (custom && len(e.networkUsers(n.Name)) == 0)) &&
			f.matchLabels(n.Labels) {
			out = append(out, mobynet.Summary{Network: shown(n)})
		}
	}
	return out, nil
}

// shown is a network as clients see it: maps are there even when empty, and the
// default network tells of its device.
func shown(n network.Network) mobynet.Network {
	out := n.Network
	options := map[string]string{}
	if n.Name == network.DefaultName {
		options = map[string]string{
			"com.docker.network.bridge.default_bridge": "true", "com.docker.network.bridge.enable_icc": "true",
			"com.docker.network.bridge.enable_ip_masquerade": "true", "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
			"com.docker.network.bridge.name": n.Bridge, "com.docker.network.driver.mtu": "1500",
		}
	}
	for k, v := range n.Options {
		options[k] = v
	}
	out.Options = options
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.IPAM.Config == nil {
		out.IPAM.Config = []mobynet.IPAMConfig{}
	}
	return out
}

// InspectNetwork tells all about a network and who is on it.
func (e *Engine) InspectNetwork(ctx context.Context, ref string) (mobynet.Inspect, error) {
	n, err := e.net.Get(ref)
	if err == nil && n.Name == network.DefaultName && len(n.IPAM.Config) == 0 {
		n, err = e.net.Default(ctx)
	}
	if err != nil {
		return mobynet.Inspect{}, err
	}
	out := mobynet.Inspect{Network: shown(n), Containers: map[string]mobynet.EndpointResource{}}
	for _, c := range e.all() {
		if r, ok := e.endpointOn(c, n); ok {
			out.Containers[c.id] = r
		}
	}
	if usage := e.net.Usage(n.Name); usage != nil {
		out.Status = &mobynet.Status{IPAM: mobynet.IPAMStatus{Subnets: usage}}
	}
	return out, nil
}

// endpointOn is the place of a running container on a network.
func (e *Engine) endpointOn(c *ctr, n network.Network) (mobynet.EndpointResource, bool) {
	rec, st := c.record(), c.state()
	if !st.alive() || !slices.Contains(networkNames(&rec), n.Name) {
		return mobynet.EndpointResource{}, false
	}
	r := mobynet.EndpointResource{Name: rec.Name, EndpointID: hashID(rec.ID, n.ID)}
	if ep := st.Endpoints[n.Name]; ep != nil {
		r.EndpointID, r.MacAddress = ep.EndpointID, ep.MacAddress
		if ep.IPAddress.IsValid() {
			r.IPv4Address = netip.PrefixFrom(ep.IPAddress, ep.IPPrefixLen)
		}
		if ep.GlobalIPv6Address.IsValid() {
			r.IPv6Address = netip.PrefixFrom(ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen)
		}
	}
	return r, true
}

// RemoveNetwork deletes a network. One with running containers stays; those
// that do not run lose their place on it.
func (e *Engine) RemoveNetwork(ctx context.Context, ref string) error {
	n, err := e.net.Get(ref)
	if err != nil {
		return err
	}
	unlock := e.exclusive("network " + n.Name)
	defer unlock()
	if !container.NetworkMode(n.Name).IsUserDefined() {
		return e.net.Remove(ctx, n.ID) // which says why not
	}
	var users []*ctr
	var active []string
	for _, c := range e.all() {
		rec, st := c.record(), c.state()
		if !slices.Contains(networkNames(&rec), n.Name) {
			continue
		}
		users = append(users, c)
		if st.alive() || st.Status == container.StateRestarting {
			active = append(active, activeEndpoint(&rec, &st, n))
		}
	}
	if len(active) > 0 {
		return inUse(n, active)
	}
	for _, c := range users {
		if err := e.loseNetwork(ctx, c, n); err != nil {
			return err
		}
	}
	if err := e.net.Remove(ctx, n.ID); err != nil {
		return err
	}
	// whoever takes a network down is not to find its interfaces afterwards
	if err := e.net.Flush(ctx); err != nil {
		log.G(ctx).WithError(err).Warn("not everything of removed containers could be taken off the host's network; the next start tries again")
	}
	e.emitNetwork(n, events.ActionDestroy, nil)
	return nil
}

func activeEndpoint(rec *record, st *state, n network.Network) string {
	id := hashID(rec.ID, n.ID)
	if ep := st.Endpoints[n.Name]; ep != nil && ep.EndpointID != "" {
		id = ep.EndpointID
	}
	return fmt.Sprintf("name:%q id:%q", rec.Name, short(id))
}

func inUse(n network.Network, endpoints []string) error {
	return fmt.Errorf("error while removing network: network %s has active endpoints (%s): %w", n.Name, strings.Join(endpoints, ", "), errdefs.ErrPermissionDenied)
}

// loseNetwork takes the place on a network from a container that does not run:
// its namespace goes with it, and a start makes a new one.
func (e *Engine) loseNetwork(ctx context.Context, c *ctr, n network.Network) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	rec, st := c.record(), c.state()
	if st.alive() { // was started meanwhile
		return inUse(n, []string{activeEndpoint(&rec, &st, n)})
	}
	if err := e.net.Release(ctx, c.id); err != nil {
		return err
	}
	return c.update(func(s *state) { s.Endpoints = nil })
}

// PruneNetworks removes the networks that no container is made for, running or
// not.
func (e *Engine) PruneNetworks(ctx context.Context, f Filters) (mobynet.PruneReport, error) {
	var out mobynet.PruneReport
	if err := f.known("until", "label", "label!"); err != nil {
		return out, err
	}
	until, err := f.until(time.Now())
	if err != nil {
		return out, err
	}
	for _, n := range e.net.List() {
		if !container.NetworkMode(n.Name).IsUserDefined() || !until.IsZero() && n.Created.After(until) || !f.matchLabels(n.Labels) || len(e.networkUsers(n.Name)) > 0 {
			continue
		}
		switch err := e.RemoveNetwork(ctx, n.ID); {
		case ctx.Err() != nil:
			return out, context.Cause(ctx)
		case err != nil:
			log.G(ctx).WithError(err).Warnf("network %q is not pruned", n.Name)
		default:
			out.NetworksDeleted = append(out.NetworksDeleted, n.Name)
		}
	}
	e.emit(events.NetworkEventType, events.ActionPrune, "", map[string]string{"reclaimed": "0"})
	return out, nil
}
