// Package dns answers for the names of containers and passes everything else
// on. It knows no namespaces: sockets are handed to it.
package dns

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Record is one container on one network. The first of Names is its canonical
// one, which reverse lookups give.
type Record struct {
	ID    string
	Names []string
	Addrs []netip.Addr
}

// Zone holds the names of all networks. It is safe for concurrent use.
type Zone struct {
	mu       sync.RWMutex
	networks map[string]*scope
	live     map[string]bool
}

// scope is one network: names are case-insensitive (RFC 4343), kept lower-case.
type scope struct {
	subnets []netip.Prefix
	records map[string]Record // by ID
	names   map[string][]string
}

// NewZone makes an empty zone.
func NewZone() *Zone {
	return &Zone{networks: map[string]*scope{}, live: map[string]bool{}}
}

// SetNetwork makes a network known; addresses of its subnets are answered here.
func (z *Zone) SetNetwork(network string, subnets ...netip.Prefix) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.scope(network).subnets = subnets
}

// RemoveNetwork forgets a network and its records.
func (z *Zone) RemoveNetwork(network string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.networks, network)
}

// Set adds or replaces the record of r.ID on a network.
func (z *Zone) Set(network string, r Record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	s := z.scope(network)
	s.remove(r.ID)
	names := make([]string, 0, len(r.Names))
	for _, n := range r.Names {
		if n = canonical(n); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	r.Names = names
	s.records[r.ID] = r
	for _, n := range names {
		s.names[n] = append(s.names[n], r.ID)
	}
}

// Remove takes the record of id off a network.
func (z *Zone) Remove(network, id string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if s := z.networks[network]; s != nil {
		s.remove(id)
	}
}

// SetLive says whether id's records are given to others. It sees itself always.
func (z *Zone) SetLive(id string, live bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if live {
		z.live[id] = true
	} else {
		delete(z.live, id)
	}
}

func (z *Zone) scope(network string) *scope {
	s := z.networks[network]
	if s == nil {
		s = &scope{records: map[string]Record{}, names: map[string][]string{}}
		z.networks[network] = s
	}
	return s
}

func (s *scope) remove(id string) {
	for _, n := range s.records[id].Names {
		ids := slices.DeleteFunc(slices.Clone(s.names[n]), func(o string) bool { return o == id })
		if s.names[n] = ids; len(ids) == 0 {
			delete(s.names, n)
		}
	}
	delete(s.records, id)
}

// Lookup finds name for a container, on its networks in their order: the first
// that knows it answers; its own links come before others' names. "name.network" names one. known is true although
// nobody who bears the name is live: then it must not be asked for elsewhere.
// Addresses start at a random one, so that replicas take turns.
func (z *Zone) Lookup(view View, name string) (addrs []netip.Addr, known bool) {
	self, networks := view.ID, view.Networks
	name = canonical(name)
	z.mu.RLock()
	defer z.mu.RUnlock()
	for cut := len(name); cut > 0; cut = strings.LastIndexByte(name[:cut], '.') {
		short, rest := name[:cut], strings.TrimPrefix(name[cut:], ".")
		for _, n := range networks {
			s := z.networks[n]
			if s == nil || rest != "" && canonical(n) != rest {
				continue
			}
			ids, ok := s.names[linked(view.Links[n], short)]
			if !ok { // whom it links is elsewhere
				ids, ok = s.names[short]
			}
			if !ok {
				continue
			}
			known = true
			for _, id := range ids {
				if id == self || z.live[id] {
					addrs = append(addrs, s.records[id].Addrs...)
				}
			}
			if len(addrs) > 0 {
				return rotate(addrs), true
			}
		}
	}
	return nil, known
}

// linked is the name that a link's alias stands for, else name itself.
func linked(links map[string]string, name string) string {
	for alias, target := range links {
		if canonical(alias) == name {
			return canonical(target)
		}
	}
	return name
}

// Reverse finds the name of an address as "name.network". local is true for
// addresses of the networks' subnets, which nobody else can tell about.
func (z *Zone) Reverse(self string, networks []string, addr netip.Addr) (name string, local bool) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	for _, n := range networks {
		s := z.networks[n]
		if s == nil || !slices.ContainsFunc(s.subnets, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			continue
		}
		local = true
		for id, r := range s.records {
			if slices.Contains(r.Addrs, addr) && len(r.Names) > 0 && (id == self || z.live[id]) {
				return r.Names[0] + "." + canonical(n), true
			}
		}
	}
	return "", local
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func rotate(addrs []netip.Addr) []netip.Addr {
	n := rand.IntN(len(addrs))
	return append(addrs[n:len(addrs):len(addrs)], addrs[:n]...)
}
