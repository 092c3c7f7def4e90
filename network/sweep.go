package network

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"gantry/network/nft"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"
)

// Sweep removes what a daemon of this instance left behind without a record:
// namespaces and interfaces of sandboxes that are neither known nor kept,
// bridges of networks that are gone, published ports that nobody has. It is
// called at boot, after all that should exist was ensured and published.
func (m *Manager) Sweep(ctx context.Context, keep func(id string) bool) error {
	var merr *multierror.Error
	merr = multierror.Append(merr, m.sweepForwards(), m.sweepNamespaces(keep), m.sweepLinks(keep))
	m.mu.Lock()
	idle := m.networks[DefaultName]
	m.mu.Unlock()
	if idle != nil {
		m.dropIdle(idle)
	}
	merr = multierror.Append(merr, foreign(ctx, m.fw.Check()))
	return merr.ErrorOrNil()
}

func (m *Manager) sweepNamespaces(keep func(string) bool) error {
	entries, err := os.ReadDir(m.cfg.RunDir)
	if err != nil {
		return err
	}
	var merr *multierror.Error
	for _, e := range entries {
		m.mu.Lock()
		known := m.sandboxes[e.Name()] != nil
		m.mu.Unlock()
		if known || m.jobs.busy(e.Name()) || keep(e.Name()) {
			continue
		}
		merr = multierror.Append(merr, m.removeNamespace(m.Path(e.Name())))
	}
	return merr.ErrorOrNil()
}

// sweepForwards closes ports that an earlier daemon published and nobody
// published again.
func (m *Manager) sweepForwards() error {
	var stale []nft.Frontend
	// A port that is being published right now has its entry in m.ports already.
	m.mu.Lock()
	for front := range m.fw.Forwards() {
		proto := "tcp"
		if front.Proto == unix.IPPROTO_UDP {
			proto = "udp"
		}
		if _, held := m.ports[heldPort{front.IP, proto, front.Port}]; !held {
			stale = append(stale, front)
		}
	}
	m.mu.Unlock()
	if len(stale) == 0 {
		return nil
	}
	return m.fw.Forward(map[nft.Frontend]netip.AddrPort{}, stale)
}

func (m *Manager) sweepLinks(keep func(string) bool) error {
	links, err := whole(m.host.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	kept := m.keptDevices(keep)
	var merr *multierror.Error
	for _, l := range links {
		a := l.Attrs()
		switch l.Type() {
		case "bridge":
			id, ours := strings.CutPrefix(a.Alias, m.alias(""))
			if a.Alias == "" && strings.HasPrefix(a.Name, "gb"+m.cfg.Instance+"-") && len(a.Name) == len(m.device("gb", "")) {
				// The process was killed before it could say whose it is.
				ours, id = true, m.networkOn(a.Name)
			}
			if !ours || m.hasNetwork(id) || m.jobs.busy(deviceJob(a.Name)) {
				continue
			}
		case "veth":
			if !strings.HasPrefix(a.Name, "gv"+m.cfg.Instance+"-") || kept[a.Name] {
				continue
			}
		default:
			continue
		}
		merr = multierror.Append(merr, wrap(m.deleteLink(a.Index), "interface %q", a.Name))
	}
	return merr.ErrorOrNil()
}

// networkOn is the ID of the network whose bridge has a name, "" for none.
func (m *Manager) networkOn(bridge string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.networks {
		if b.rec.Bridge == bridge {
			return b.rec.ID
		}
	}
	return ""
}

func (m *Manager) hasNetwork(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.networks {
		if b.rec.ID == id {
			return true
		}
	}
	return false
}

// keptDevices names the hosts' ends of all interfaces that may exist.
func (m *Manager) keptDevices(keep func(string) bool) map[string]bool {
	kept := map[string]bool{}
	entries, _ := os.ReadDir(m.cfg.RunDir) // an error shows in sweepNamespaces
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.networks {
		for id := range b.members {
			kept[m.device("gv", id, b.rec.ID)] = true
		}
		for _, e := range entries {
			if m.sandboxes[e.Name()] == nil && keep(e.Name()) {
				kept[m.device("gv", e.Name(), b.rec.ID)] = true
			}
		}
	}
	return kept
}
