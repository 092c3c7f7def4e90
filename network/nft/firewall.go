// Package nft holds what the host's packet filter must know: which bridges are
// ours, what may pass between them, and where published ports go.
package nft

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Bridge is a network as the packet filter sees it.
type Bridge struct {
	Name       string
	Subnets    []netip.Prefix
	Masquerade bool // what leaves the bridge takes the host's address
	Internal   bool // nothing leaves, nothing comes in
	Isolated   bool // no traffic between its containers (Docker's enable_icc=false)
}

// Frontend is what is published on the host.
type Frontend struct {
	IP    netip.Addr // unspecified: all addresses of the host, of this family
	Proto uint8      // unix.IPPROTO_TCP, …
	Port  uint16
}

// Firewall is the table of one daemon. It remembers what it was told, so that
// it can be restored when somebody flushes the host's rules. The zero number
// of bridges is no table at all.
type Firewall struct {
	tag   string // names the rules that are put into others' chains
	table *nftables.Table

	mu       sync.Mutex
	bridges  map[string]Bridge
	forwards map[Frontend]netip.AddrPort
}

// New makes the firewall of the daemon that is called instance, "" for the
// host's default one. It touches nothing yet.
func New(instance string) *Firewall {
	name := "gantry"
	if instance != "" {
		name += "-" + instance
	}
	return &Firewall{
		tag:     "gantry:" + instance,
		table:   &nftables.Table{Name: name, Family: nftables.TableFamilyINet},
		bridges: map[string]Bridge{}, forwards: map[Frontend]netip.AddrPort{},
	}
}

// Load reads the published ports that a daemon before this one left behind.
func (f *Firewall) Load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	found, err := f.exists(c)
	if err != nil || !found {
		return err
	}
	for _, set := range f.publishSets() {
		elems, err := c.GetSetElements(set)
		if errors.Is(err, unix.ENOENT) {
			continue // a table of another layout: it is replaced as a whole
		}
		if err != nil {
			return fmt.Errorf("nft table %q: read map %q: %w", f.table.Name, set.Name, err)
		}
		for _, e := range elems {
			if front, to, ok := decode(set.Name, e); ok {
				f.forwards[front] = to
			}
		}
	}
	return nil
}

// Forwards is what is published now.
func (f *Firewall) Forwards() map[Frontend]netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.forwards)
}

// AddBridges makes bridges known, and the table where it is missing.
func (f *Firewall) AddBridges(bridges ...Bridge) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	fresh := len(f.bridges) == 0
	for _, b := range bridges {
		if old, ok := f.bridges[b.Name]; ok && !fresh {
			if err := f.change(c, old, c.SetDeleteElements); err != nil {
				return err
			}
		}
		f.bridges[b.Name] = b
		if !fresh {
			if err := f.change(c, b, c.SetAddElements); err != nil {
				return err
			}
		}
	}
	if fresh {
		return f.rebuild(c)
	}
	if err := c.Flush(); err != nil {
		return f.rebuild(c) // somebody took the table away meanwhile
	}
	return f.admit(c)
}

// RemoveBridge forgets a bridge; with the last one the table goes, and the
// rules in others' chains.
func (f *Firewall) RemoveBridge(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.bridges[name]
	if !ok {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	delete(f.bridges, name)
	if len(f.bridges) == 0 {
		return errors.Join(f.drop(c), f.admit(c))
	}
	if err := f.change(c, b, c.SetDeleteElements); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		err = f.rebuild(c)
	}
	return errors.Join(err, f.admit(c))
}

// Forward publishes and unpublishes in one transaction; what is published
// already is replaced.
func (f *Firewall) Forward(add map[Frontend]netip.AddrPort, remove []Frontend) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	before := maps.Clone(f.forwards)
	put := func(front Frontend, to netip.AddrPort, change func(*nftables.Set, []nftables.SetElement) error) error {
		return change(f.publishSet(front), []nftables.SetElement{{Key: front.key(), Val: value(to)}})
	}
	for _, front := range remove {
		if to, ok := f.forwards[front]; ok {
			if err := put(front, to, c.SetDeleteElements); err != nil {
				return err
			}
			delete(f.forwards, front)
		}
	}
	for _, front := range slices.SortedFunc(maps.Keys(add), Frontend.compare) {
		if to, ok := f.forwards[front]; ok {
			if err := put(front, to, c.SetDeleteElements); err != nil {
				return err
			}
		}
		if err := put(front, add[front], c.SetAddElements); err != nil {
			return err
		}
		f.forwards[front] = add[front]
	}
	if len(f.bridges) == 0 {
		return nil // there is no table to change
	}
	if err := c.Flush(); err != nil {
		if err = f.rebuild(c); err != nil {
			f.forwards = before
			return err
		}
	}
	return nil
}

// Check restores the table when it is gone and lets forwarded packets pass in
// the base chains of others that would drop them.
func (f *Firewall) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	if len(f.bridges) == 0 {
		return f.admit(c)
	}
	return f.check(c)
}

// Remove takes away the table and the rules in others' chains.
func (f *Firewall) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	clear(f.bridges)
	clear(f.forwards)
	return errors.Join(f.drop(c), f.admit(c))
}

func (f *Firewall) exists(c *nftables.Conn) (bool, error) {
	tables, err := c.ListTablesOfFamily(f.table.Family)
	if err != nil {
		return false, fmt.Errorf("list nft tables: %w", err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == f.table.Name }), nil
}

func (f *Firewall) drop(c *nftables.Conn) error {
	clear(f.forwards)
	found, err := f.exists(c)
	if err != nil || !found {
		return err
	}
	c.DelTable(f.table)
	if err := c.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("nft table %q: delete: %w", f.table.Name, err)
	}
	return nil
}

func (a Frontend) compare(b Frontend) int {
	if c := a.IP.Compare(b.IP); c != 0 {
		return c
	}
	if c := int(a.Proto) - int(b.Proto); c != 0 {
		return c
	}
	return int(a.Port) - int(b.Port)
}

func (f *Firewall) sorted() []Bridge {
	return slices.SortedFunc(maps.Values(f.bridges), func(a, b Bridge) int { return strings.Compare(a.Name, b.Name) })
}
