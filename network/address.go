package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"gantry/network/ipam"

	"github.com/containerd/errdefs"
)

// allocate takes the addresses of one endpoint. An address that is held by a
// sandbox on its way out is waited for; a stopped one gives it up.
func (m *Manager) allocate(ctx context.Context, id string, want Endpoint) (*endpoint, error) {
	for {
		b, err := m.join(ctx, want.Network)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		ep, err := b.allocate(id, want)
		in := new(AddressInUseError)
		held := errors.As(err, &in) && in.Holder != id
		leaving, holder := held && b.leaving[in.Holder], m.sandboxes[in.Holder]
		m.mu.Unlock()
		switch {
		case err == nil:
			ep.device = m.device("gv", id, b.rec.ID)
			return ep, nil
		case leaving:
			if err := m.jobs.wait(ctx, in.Holder); err != nil {
				return nil, err
			}
		case held && holder != nil && holder.stopped.Load() && m.evict(ctx, holder, want.Network):
		default:
			return nil, err
		}
	}
}

// evict takes a stopped sandbox off a network, as Docker frees addresses when
// a container stops: its replacement starts before it is removed. The wait for
// its lock is bounded, as the caller holds that of another sandbox.
func (m *Manager) evict(ctx context.Context, sb *sandbox, network string) bool {
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	if !sb.mu.lockContext(ctx) {
		return false
	}
	defer sb.mu.Unlock()
	if !sb.stopped.Load() && !sb.gone { // it starts again
		return false
	}
	for i, ep := range sb.endpoints {
		if ep.want.Network == network {
			sb.endpoints = slices.Delete(sb.endpoints, i, i+1)
			err := m.dropEndpoints(sb, []*endpoint{ep})
			m.publishNames(sb)
			return err == nil
		}
	}
	return true
}

const evictTimeout = 2 * time.Second

// lock is a mutex that can be waited for with a bound.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

func (l lock) Lock()   { l <- struct{}{} }
func (l lock) Unlock() { <-l }

func (l lock) lockContext(ctx context.Context) bool {
	select {
	case l <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// allocate takes addresses for id. The caller holds Manager.mu.
func (b *bridge) allocate(id string, want Endpoint) (*endpoint, error) {
	if b.removing {
		return nil, fmt.Errorf("network %q is being removed: %w", b.rec.Name, errdefs.ErrNotFound)
	}
	if !want.IPv4.IsValid() && want.IPv6.IsValid() && b.v6 == nil || want.IPv6.IsValid() && b.v6 == nil {
		return nil, fmt.Errorf("network %q has no IPv6 for address %s: %w", b.rec.Name, want.IPv6, errdefs.ErrInvalidArgument)
	}
	if want.IPv4.IsValid() && b.v4 == nil {
		return nil, fmt.Errorf("network %q has no IPv4 for address %s: %w", b.rec.Name, want.IPv4, errdefs.ErrInvalidArgument)
	}
	a4, err := take(b.rec.Name, b.v4, want.IPv4, id)
	if err != nil {
		return nil, err
	}
	a6, err := take(b.rec.Name, b.v6, want.IPv6, id)
	if err != nil {
		if b.v4 != nil {
			b.v4.Free(a4, id)
		}
		return nil, err
	}
	b.members[id] = true
	ep := &endpoint{want: want, bridge: b, as: Assigned{
		Network: b.rec.Name, NetworkID: b.rec.ID, EndpointID: digest(id, b.rec.ID),
		IfName: want.IfName, MAC: want.MAC, GatewayPriority: want.GatewayPriority,
	}}
	if a4.IsValid() {
		ep.as.IPv4 = netip.PrefixFrom(a4, b.v4.Prefix().Bits())
	}
	if a6.IsValid() {
		ep.as.IPv6 = netip.PrefixFrom(a6, b.v6.Prefix().Bits())
	}
	if !b.rec.Internal {
		if b.v4 != nil {
			ep.as.Gateway4 = b.v4.Gateway()
		}
		if b.v6 != nil {
			ep.as.Gateway6 = b.v6.Gateway()
		}
	}
	// From the address, so that who has it next has the same: no neighbour's
	// cache is ever wrong.
	switch {
	case len(want.MAC) > 0:
	case a4.IsValid():
		ep.as.MAC = append(net.HardwareAddr{0x02, 0x42}, a4.AsSlice()...)
	default:
		ep.as.MAC = hardwareAddr(a6.String())
	}
	return ep, nil
}

func take(network string, s *ipam.Subnet, want netip.Addr, id string) (netip.Addr, error) {
	if s == nil {
		return netip.Addr{}, nil
	}
	addr, err := want, error(nil)
	if want.IsValid() {
		err = s.Take(want, id)
	} else {
		addr, err = s.Next(id)
	}
	if in := new(ipam.InUseError); errors.As(err, &in) {
		return addr, &AddressInUseError{Network: network, Addr: in.Addr, Holder: in.Owner}
	}
	if err != nil {
		return addr, fmt.Errorf("network %q: %w", network, err)
	}
	return addr, nil
}

// free gives the addresses of deleted endpoints back. The default network's
// device goes with its last member.
func (m *Manager) free(id string, endpoints []*endpoint) {
	var idle []*bridge
	m.mu.Lock()
	for _, ep := range endpoints {
		b := ep.bridge
		if b.v4 != nil {
			b.v4.Free(ep.as.IPv4.Addr(), id)
		}
		if b.v6 != nil {
			b.v6.Free(ep.as.IPv6.Addr(), id)
		}
		delete(b.members, id)
		delete(b.leaving, id)
		if b.rec.Name == DefaultName && len(b.members) == 0 {
			idle = append(idle, b)
		}
	}
	m.mu.Unlock()
	for _, b := range idle {
		m.dropIdle(b)
	}
}

// dropIdle takes the default network's device down when nobody uses it.
func (m *Manager) dropIdle(b *bridge) {
	m.jobs.start(deviceJob(b.rec.Bridge), func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		m.mu.Lock()
		busy := len(b.members) > 0
		m.mu.Unlock()
		if busy {
			return nil
		}
		return m.takeDown(b)
	})
}

func digest(of ...string) string {
	h := sha256.New()
	for _, s := range of {
		fmt.Fprintf(h, "%s\x00", s)
	}
	return hex.EncodeToString(h.Sum(nil))
}
