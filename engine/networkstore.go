package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
)

// CreateNetwork makes a network.
func (e *Engine) CreateNetwork(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	unlock := e.exclusive("network " + req.Name)
	defer unlock()
	n, err := e.net.Create(ctx, req.Name, req, randomID())
	if err != nil {
		return network.CreateResponse{}, err
	}
	e.emit(events.NetworkEventType, events.ActionCreate, n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return network.CreateResponse{ID: n.ID}, nil
}

// ListNetworks returns the networks that filters select, by name.
func (e *Engine) ListNetworks(_ context.Context, f Filters) ([]network.Summary, error) {
	for key := range f {
		if !slices.Contains([]string{"name", "id", "label", "driver", "type", "scope", "dangling"}, key) {
			return nil, fmt.Errorf("invalid filter %q: %w", key, errdefs.ErrInvalidArgument)
		}
	}
	any := func(key string, ok func(v string) bool) bool {
		return len(f[key]) == 0 || slices.ContainsFunc(f[key], ok)
	}
	out := []network.Summary{}
	for _, n := range e.net.List() {
		custom := n.Name != "bridge" && n.Name != "host" && n.Name != "none"
		if any("name", func(v string) bool { return strings.Contains(n.Name, v) }) &&
			any("id", func(v string) bool { return strings.HasPrefix(n.ID, v) }) &&
			any("driver", func(v string) bool { return n.Driver == v }) &&
			any("type", func(v string) bool { return (v == "custom") == custom }) &&
			any("scope", func(v string) bool { return v == "local" }) &&
			any("dangling", func(v string) bool { return (v == "true" || v == "1") == (custom && len(e.networkUsers(n.Name)) == 0) }) &&
			matchLabels(n.Labels, f["label"]) {
			out = append(out, network.Summary{Network: n.Network})
		}
	}
	return out, nil
}

// InspectNetwork tells all about a network and who is on it.
func (e *Engine) InspectNetwork(_ context.Context, ref string) (network.Inspect, error) {
	n, err := e.net.Get(ref)
	if err != nil {
		return network.Inspect{}, err
	}
	out := network.Inspect{Network: n.Network, Containers: map[string]network.EndpointResource{}}
	for _, c := range e.all() {
		st := c.state()
		ep := st.Endpoints[n.Name]
		if ep == nil || !st.alive() {
			continue
		}
		r := network.EndpointResource{Name: c.name(), EndpointID: ep.EndpointID, MacAddress: ep.MacAddress}
		if ep.IPAddress.IsValid() {
			r.IPv4Address = netip.PrefixFrom(ep.IPAddress, ep.IPPrefixLen)
		}
		if ep.GlobalIPv6Address.IsValid() {
			r.IPv6Address = netip.PrefixFrom(ep.GlobalIPv6Address, ep.GlobalIPv6PrefixLen)
		}
		out.Containers[c.id] = r
	}
	return out, nil
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
	for _, c := range e.all() {
		st := c.state()
		for _, a := range c.record().Networks {
			if a.Network != n.Name {
				continue
			}
			if st.alive() || st.Status == "restarting" {
				return fmt.Errorf("network %q is used by container %q (%s), stop or disconnect that first: %w", n.Name, c.name(), st.Status, errdefs.ErrConflict)
			}
			if err := e.loseNetwork(ctx, c, n.Name); err != nil {
				return err
			}
		}
	}
	if err := e.net.Remove(ctx, n.ID); err != nil {
		return err
	}
	// whoever takes a network down is not to find its interfaces afterwards
	if err := e.net.Flush(ctx); err != nil {
		log.G(ctx).WithError(err).Warn("not everything of removed containers could be taken off the host's network; the next start tries again")
	}
	e.emit(events.NetworkEventType, events.ActionDestroy, n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return nil
}

// loseNetwork takes the place on a network from a container that does not run:
// its namespace goes with it, and a start makes a new one.
func (e *Engine) loseNetwork(ctx context.Context, c *ctr, name string) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if st := c.state(); st.alive() {
		return fmt.Errorf("network %q is used by container %q, which was started meanwhile: %w", name, c.name(), errdefs.ErrConflict)
	}
	if err := e.net.Release(ctx, c.id); err != nil {
		return err
	}
	return c.update(func(s *state) { s.Endpoints = nil })
}
