package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"gantry/network/ipam"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

// Get finds a network by name, ID or unique prefix of an ID.
func (m *Manager) Get(nameOrID string) (Network, error) {
	all := m.List()
	for _, same := range []func(Network) bool{
		func(n Network) bool { return n.Name == nameOrID },
		func(n Network) bool { return n.ID == nameOrID },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 {
			return all[i], nil
		}
	}
	found := slices.DeleteFunc(all, func(n Network) bool { return nameOrID == "" || !strings.HasPrefix(n.ID, nameOrID) })
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Network{}, fmt.Errorf("network %s not found: %w", nameOrID, errdefs.ErrNotFound)
	}
	return Network{}, fmt.Errorf("network %s is ambiguous (%d matches found based on ID prefix): %w", nameOrID, len(found), errdefs.ErrInvalidArgument)
}

// List gives all networks by name, those that are always there included.
func (m *Manager) List() []Network {
	m.mu.Lock()
	out := make([]Network, 0, len(m.networks)+3)
	for _, b := range m.networks {
		if !b.removing {
			out = append(out, b.record())
		}
	}
	_, have := m.networks[DefaultName]
	m.mu.Unlock()
	if !have {
		n := m.defaultNetwork()
		out = append(out, Network{Network: n, Bridge: m.bridgeName(n)})
	}
	for name, driver := range map[string]string{HostName: "host", NoneName: "null"} {
		out = append(out, Network{Network: network.Network{
			Name: name, ID: m.builtinID(name), Scope: "local", Driver: driver, EnableIPv4: true, IPAM: network.IPAM{Driver: "default"},
		}})
	}
	slices.SortFunc(out, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Attached lists the sandboxes on a network and what they have there.
func (m *Manager) Attached(name string) map[string]Assigned {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]Assigned{}
	for id, sb := range m.sandboxes {
		if v := sb.view.Load(); v != nil {
			for _, a := range v.endpoints {
				if a.Network == name {
					out[id] = a
				}
			}
		}
	}
	return out
}

// Usage counts the addresses of a network's subnets, in the Engine API's terms.
func (m *Manager) Usage(name string) network.SubnetStatuses {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.networks[name]
	if b == nil {
		return nil
	}
	out := network.SubnetStatuses{}
	for _, s := range []*ipam.Subnet{b.v4, b.v6} {
		if s != nil {
			used, available := s.Count()
			out[s.Prefix()] = network.SubnetStatus{IPsInUse: used, DynamicIPsAvailable: available}
		}
	}
	return out
}

// Default returns the default network with the subnet that it has, which is
// chosen at the first use of either; its device comes with its first container.
func (m *Manager) Default(ctx context.Context) (Network, error) {
	m.mu.Lock()
	_, have := m.networks[DefaultName]
	m.mu.Unlock()
	if !have {
		b, err := m.join(ctx, DefaultName)
		if err != nil {
			return Network{}, err
		}
		m.dropIdle(b)
	}
	return m.Get(DefaultName)
}

// CheckEndpoint tells what is wrong with a fixed address before anybody takes
// it (errdefs.ErrInvalidArgument).
func (n Network) CheckEndpoint(addrs ...netip.Addr) error {
	for _, a := range addrs {
		if a.IsValid() && !slices.ContainsFunc(n.prefixes(), func(p netip.Prefix) bool { return p.Contains(a) }) {
			return fmt.Errorf("no configured subnet or ip-range contain the IP address %s: %w", a, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// attached lists who holds an address. The caller holds m.mu.
func (m *Manager) attached(b *bridge) []string {
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(b.members)), func(id string) bool { return b.leaving[id] })
	for i, id := range ids {
		ids[i] = id[:min(len(id), 12)]
	}
	return ids
}
