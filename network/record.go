package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

// Network is a network as it stands: the Engine API's view, with the chosen
// subnets and gateways in IPAM.Config.
type Network struct {
	network.Network
	// Bridge is the host's device, "" for host and none.
	Bridge string `json:"gantryBridge,omitempty"`
	// Borrowed is set when the device was there before the network: it stays.
	Borrowed bool `json:"gantryBorrowed,omitempty"`
}

// loadRecords reads all <dir>/<name>.json. A record that cannot be read is an
// error: going on would give its subnet to somebody else.
func loadRecords(dir string) ([]Network, error) {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil, err
	}
	var records []Network
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") { // a writer was interrupted
			_ = os.Remove(path)
			continue
		}
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var n Network
		if err := json.Unmarshal(data, &n); err != nil {
			return nil, fmt.Errorf("network record %q: %w: %w: repair or remove the file", path, errdefs.ErrDataLoss, err)
		}
		records = append(records, n)
	}
	return records, nil
}

func (m *Manager) recordPath(name string) string { return filepath.Join(m.cfg.StateDir, name+".json") }

// saveRecord replaces a record atomically; it is on disk when this returns.
func (m *Manager) saveRecord(n Network) error {
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(m.cfg.StateDir, "."+n.Name+"-*")
	if err != nil {
		return fmt.Errorf("network %q: record: %w", n.Name, err)
	}
	_, err = tmp.Write(append(data, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), m.recordPath(n.Name))
	}
	if err != nil {
		return fmt.Errorf("network %q: record: %w", n.Name, errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

func (m *Manager) removeRecord(name string) error {
	if err := os.Remove(m.recordPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("network %q: record: %w", name, err)
	}
	return nil
}

// prefixes are the subnets that a record holds.
func (n Network) prefixes() (out []netip.Prefix) {
	for _, c := range n.IPAM.Config {
		out = append(out, c.Subnet)
	}
	return out
}
