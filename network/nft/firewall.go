// Package nft holds what the host's packet filter must know: which bridges are
// ours, what may pass between them, and where published ports go.
package nft

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
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
	conn     *nftables.Conn // kept: closing one waits until the kernel has freed what was deleted
	gen      generation
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

// open returns the connection, in the namespace of the daemon.
func (f *Firewall) open() (*nftables.Conn, error) {
	if f.conn == nil {
		c, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return nil, fmt.Errorf("nftables: %w", err)
		}
		f.conn = c
	}
	return f.conn, nil
}

// flush sends what was collected, at least one command. After an error the connection is not used
// again: answers may be waiting in it.
func (f *Firewall) flush(c *nftables.Conn) error {
	err := c.Flush()
	if err != nil {
		f.gen.seen = 0
		f.close()
	} else if f.gen.seen != 0 {
		f.gen.seen++
	}
	return err
}

func (f *Firewall) close() {
	if f.conn != nil {
		go f.conn.CloseLasting()
		f.conn = nil
	}
}

// Close ends the connection to the kernel; the table stays.
func (f *Firewall) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.close()
	f.gen.close()
}

// Load reads the published ports that a daemon before this one left behind.
func (f *Firewall) Load() error {
	return f.locked(func(c *nftables.Conn) error {
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
	})
}

// Forwards is what is published now.
func (f *Firewall) Forwards() map[Frontend]netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.forwards)
}

// AddBridges makes bridges known, and the table where it is missing. Errors
// about chains of others are ErrForeign.
func (f *Firewall) AddBridges(bridges ...Bridge) error {
	return f.locked(func(c *nftables.Conn) error {
		fresh, changed := len(f.bridges) == 0, false
		for _, b := range bridges {
			old, had := f.bridges[b.Name]
			f.bridges[b.Name] = b
			if fresh || had && reflect.DeepEqual(old, b) {
				continue
			}
			changed = true
			if had {
				if err := f.change(old, c.SetDeleteElements); err != nil {
					return err
				}
			}
			if err := f.change(b, c.SetAddElements); err != nil {
				return err
			}
		}
		if fresh {
			return f.rebuild()
		}
		if changed {
			if err := f.flush(c); err != nil {
				return f.rebuild() // somebody took the table away meanwhile
			}
		}
		return f.admit()
	})
}

// RemoveBridge forgets a bridge; with the last one the table goes, and the
// rules in others' chains.
func (f *Firewall) RemoveBridge(name string) error {
	return f.locked(func(c *nftables.Conn) error {
		b, ok := f.bridges[name]
		if !ok {
			return nil
		}
		delete(f.bridges, name)
		if len(f.bridges) == 0 {
			return errors.Join(f.drop(), f.admit())
		}
		if err := f.change(b, c.SetDeleteElements); err != nil {
			return err
		}
		if err := f.flush(c); err != nil {
			return f.rebuild()
		}
		return f.admit()
	})
}

// Forward publishes and unpublishes in one transaction; what is published
// already is replaced. When it fails, nothing has changed.
func (f *Firewall) Forward(add map[Frontend]netip.AddrPort, remove []Frontend) error {
	return f.locked(func(c *nftables.Conn) error {
		before := map[Frontend]netip.AddrPort{}
		var err error
		put := func(front Frontend, to netip.AddrPort, change func(*nftables.Set, []nftables.SetElement) error) {
			err = errors.Join(err, change(f.publishSet(front), []nftables.SetElement{{Key: front.key(), Val: value(to)}}))
		}
		for _, front := range slices.Concat(remove, slices.SortedFunc(maps.Keys(add), Frontend.compare)) {
			if to, ok := f.forwards[front]; ok {
				before[front] = to
				put(front, to, c.SetDeleteElements)
				delete(f.forwards, front)
			}
			if to, ok := add[front]; ok {
				put(front, to, c.SetAddElements)
				f.forwards[front] = to
			}
		}
		if len(f.bridges) == 0 || len(before)+len(add) == 0 {
			f.close() // there is nothing to change: forget the commands
			return nil
		}
		if err == nil {
			err = f.flush(c)
		}
		if err != nil {
			err = f.rebuild()
		}
		if err == nil || errors.Is(err, ErrForeign) {
			return nil // others' chains have nothing to do with ports
		}
		for front := range add {
			delete(f.forwards, front)
		}
		maps.Copy(f.forwards, before)
		return err
	})
}

// Remove takes away the table and the rules in others' chains.
func (f *Firewall) Remove() error {
	return f.locked(func(*nftables.Conn) error {
		clear(f.bridges)
		return errors.Join(f.drop(), f.admit())
	})
}

// locked gives do the connection. Commands that do did not send because of an
// error must not go out with the next ones.
func (f *Firewall) locked(do func(*nftables.Conn) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.open()
	if err != nil {
		return err
	}
	if err = do(c); err != nil {
		f.close()
	}
	return err
}

func (f *Firewall) exists(c *nftables.Conn) (bool, error) {
	tables, err := c.ListTablesOfFamily(f.table.Family)
	if err != nil {
		return false, fmt.Errorf("list nft tables: %w", err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == f.table.Name }), nil
}

func (f *Firewall) drop() error {
	clear(f.forwards)
	c, err := f.open()
	if err != nil {
		return err
	}
	found, err := f.exists(c)
	if err != nil || !found {
		return err
	}
	c.DelTable(f.table)
	if err := f.flush(c); err != nil && !errors.Is(err, unix.ENOENT) {
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
