package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/network/ipam"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/network"
)

// collisions bounds how often a subnet is chosen anew because another daemon
// took the same one at the same moment.
const collisions = 16

// Create makes a network: its device, addresses, rules and record. Errors are
// errdefs.ErrInvalidArgument, ErrAlreadyExists (the name), ErrConflict (a
// subnet or device that is in use) and ErrResourceExhausted (no subnet left).
func (m *Manager) Create(ctx context.Context, name string, req network.CreateRequest, id string) (Network, error) {
	n, err := parseRequest(name, req)
	if err != nil {
		return Network{}, err
	}
	if name == DefaultName || name == HostName || name == NoneName {
		return Network{}, fmt.Errorf("operation is not permitted on predefined %s network: %w", name, errdefs.ErrPermissionDenied)
	}
	for option, value := range m.cfg.Options {
		if _, chosen := n.Options[option]; !chosen {
			if n.Options == nil {
				n.Options = map[string]string{}
			}
			n.Options[option] = value
		}
	}
	n.ID, n.Created = id, time.Now().UTC()
	return m.create(ctx, n)
}

func (m *Manager) create(ctx context.Context, n network.Network) (Network, error) {
	rec := Network{Network: n}
	opts, err := parseOptions(n)
	if err != nil {
		return rec, fmt.Errorf("network %q: %w", n.Name, err)
	}
	if rec.Bridge = opts.bridge; rec.Bridge == "" {
		rec.Bridge = m.bridgeName(n)
	}
	if err := m.jobs.wait(ctx, deviceJob(rec.Bridge)); err != nil {
		return rec, err
	}
	var crowded []netip.Prefix // subnets that turned out to be another daemon's
	for try := range collisions {
		b, err := m.reserve(rec, crowded, try)
		if err != nil {
			return rec, err
		}
		if err = m.establish(ctx, b); err == nil {
			return b.record(), nil
		}
		m.mu.Lock()
		delete(m.networks, n.Name)
		m.mu.Unlock()
		m.zone.RemoveNetwork(n.Name)
		if !errors.Is(err, errCrowded) || len(n.IPAM.Config) == len(b.rec.IPAM.Config) {
			return rec, err
		}
		crowded = append(crowded, b.rec.prefixes()...)
	}
	return rec, fmt.Errorf("network %q: no subnet could be had, others take them at the same time: %w", n.Name, errdefs.ErrUnavailable)
}

// reserve chooses the subnets that were not asked for and takes name and
// subnets in memory, so that nobody else in this process chooses them.
func (m *Manager) reserve(rec Network, crowded []netip.Prefix, try int) (*bridge, error) {
	taken, err := m.hostPrefixes()
	if err != nil {
		return nil, fmt.Errorf("network %q: %w", rec.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.networks {
		switch {
		case b.rec.Name == rec.Name:
			return nil, fmt.Errorf("network with name %s already exists: %w", rec.Name, errdefs.ErrAlreadyExists)
		case b.rec.ID == rec.ID:
			return nil, fmt.Errorf("network %q: ID %q is that of network %q: %w", rec.Name, rec.ID, b.rec.Name, errdefs.ErrAlreadyExists)
		case b.rec.Bridge == rec.Bridge:
			return nil, fmt.Errorf("network %q: device %q belongs to network %q: %w", rec.Name, rec.Bridge, b.rec.Name, errdefs.ErrConflict)
		}
		for _, p := range b.rec.prefixes() {
			for _, c := range rec.IPAM.Config {
				if c.Subnet.Overlaps(p) {
					return nil, fmt.Errorf("network %q: invalid pool request: Pool overlaps with other one on this address space: subnet %s overlaps %s of network %q: choose another one: %w", rec.Name, c.Subnet, p, b.rec.Name, errdefs.ErrConflict)
				}
			}
			taken = append(taken, p)
		}
	}
	taken = append(taken, crowded...)
	nth := 0
	if try > 0 {
		nth = rand.IntN(8 * try) // two that collided must not do so again in step
	}
	rec.IPAM.Config = slices.Clone(rec.IPAM.Config)
	for _, is4 := range []bool{true, false} {
		if is4 && !rec.EnableIPv4 || !is4 && !rec.EnableIPv6 ||
			slices.ContainsFunc(rec.IPAM.Config, func(c network.IPAMConfig) bool { return c.Subnet.Addr().Is4() == is4 }) {
			continue
		}
		pools := slices.DeleteFunc(slices.Clone(m.cfg.Pools), func(p Pool) bool { return p.Base.Addr().Is4() != is4 })
		p, err := ipam.Choose(pools, taken, nth)
		if err != nil {
			return nil, fmt.Errorf("network %q: %w", rec.Name, err)
		}
		rec.IPAM.Config = append(rec.IPAM.Config, network.IPAMConfig{Subnet: p})
	}
	b, err := newBridge(rec)
	if err != nil {
		return nil, err
	}
	m.networks[rec.Name] = b
	return b, nil
}

// establish makes a reserved network real, or leaves nothing of it.
func (m *Manager) establish(ctx context.Context, b *bridge) error {
	m.zone.SetNetwork(b.rec.Name, b.subnets()...)
	if err := m.bringUp(ctx, b); err != nil {
		return err
	}
	err := m.saveRecord(b.record())
	if err != nil {
		b.mu.Lock()
		err = errors.Join(err, m.takeDown(b))
		b.mu.Unlock()
	}
	return err
}

// Remove takes a network away. It waits for containers that are on their way
// out; one that is attached makes it errdefs.ErrFailedPrecondition. The device
// goes in the background: see Flush.
func (m *Manager) Remove(ctx context.Context, nameOrID string) error {
	n, err := m.Get(nameOrID)
	if err != nil {
		return err
	}
	if n.Bridge == "" || n.Name == DefaultName {
		return fmt.Errorf("%s is a pre-defined network and cannot be removed: %w", n.Name, errdefs.ErrPermissionDenied)
	}
	m.mu.Lock()
	b := m.networks[n.Name]
	if b == nil {
		m.mu.Unlock()
		return fmt.Errorf("network %q: %w", nameOrID, errdefs.ErrNotFound)
	}
	if ids := m.attached(b); len(ids) > 0 {
		m.mu.Unlock()
		return fmt.Errorf("network %q has containers attached (%s): remove or disconnect them first: %w", n.Name, strings.Join(ids, ", "), errdefs.ErrFailedPrecondition)
	}
	leaving := slices.Sorted(maps.Keys(b.leaving))
	b.removing = true // nobody joins from now on
	m.mu.Unlock()
	for _, id := range leaving {
		if err := m.jobs.wait(ctx, id); err != nil {
			m.mu.Lock()
			b.removing = false
			m.mu.Unlock()
			return err
		}
	}
	if err := m.removeRecord(n.Name); err != nil {
		m.mu.Lock()
		b.removing = false
		m.mu.Unlock()
		return err
	}
	m.mu.Lock()
	delete(m.networks, n.Name)
	m.mu.Unlock()
	m.zone.RemoveNetwork(n.Name)
	err = m.fw.RemoveBridge(n.Bridge)
	m.jobs.start(deviceJob(n.Bridge), func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		return m.takeDown(b)
	})
	if err != nil {
		return fmt.Errorf("network %q: %w", n.Name, err)
	}
	log.G(ctx).Debugf("network %q removed", n.Name)
	return nil
}

func (m *Manager) defaultNetwork() network.Network {
	options := map[string]string{optDefault: "true"}
	if m.cfg.MTU > 0 {
		options[optMTU] = strconv.Itoa(m.cfg.MTU)
	}
	return network.Network{
		Name: DefaultName, ID: m.builtinID(DefaultName), Scope: "local", Driver: "bridge", EnableIPv4: true,
		IPAM:    network.IPAM{Driver: "default"},
		Options: options,
	}
}

func (m *Manager) bridgeName(n network.Network) string {
	if n.Name == DefaultName && m.cfg.Instance == "" {
		return "gantry0"
	}
	return m.device("gb", n.ID)
}

func (m *Manager) builtinID(name string) string {
	sum := sha256.Sum256([]byte("gantry\x00" + m.cfg.Instance + "\x00" + name))
	return hex.EncodeToString(sum[:])
}

// join finds the bridge that a container is attached to, making the default
// one on its first use.
func (m *Manager) join(ctx context.Context, name string) (*bridge, error) {
	m.mu.Lock()
	b := m.networks[name]
	m.mu.Unlock()
	if b == nil && name == DefaultName {
		m.defaults.Lock()
		defer m.defaults.Unlock()
		m.mu.Lock()
		b = m.networks[name]
		m.mu.Unlock()
		if b == nil {
			n := m.defaultNetwork()
			n.Created = time.Now().UTC()
			if _, err := m.create(ctx, n); err != nil {
				return nil, err
			}
			m.mu.Lock()
			b = m.networks[name]
			m.mu.Unlock()
		}
	}
	if b == nil {
		return nil, fmt.Errorf("network %s not found: %w", name, errdefs.ErrNotFound)
	}
	return b, nil
}

func deviceJob(name string) string { return "device " + name }
