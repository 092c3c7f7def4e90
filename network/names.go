package network

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"gantry/network/dns"
	"gantry/network/nft"
	"gantry/network/ns"

	"github.com/containerd/errdefs"
)

// embedded is where containers ask, as with Docker.
var embedded = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// dnsSockets are a container's name service: made in its namespace, served
// from anywhere.
type dnsSockets struct {
	udp net.PacketConn
	tcp net.Listener
}

// openDNS runs within a namespace. Ports are random, so that the container may
// use port 53 itself.
func openDNS() (*dnsSockets, error) {
	udp, err := net.ListenPacket("udp4", netip.AddrPortFrom(embedded, 0).String())
	if err != nil {
		return nil, fmt.Errorf("DNS socket: %w", err)
	}
	tcp, err := net.Listen("tcp4", netip.AddrPortFrom(embedded, 0).String())
	if err != nil {
		udp.Close()
		return nil, fmt.Errorf("DNS socket: %w", err)
	}
	up, tp := udp.LocalAddr().(*net.UDPAddr).Port, tcp.Addr().(*net.TCPAddr).Port
	if err := nft.Redirect(embedded.As4(), uint16(up), uint16(tp)); err != nil {
		udp.Close()
		tcp.Close()
		return nil, err
	}
	return &dnsSockets{udp, tcp}, nil
}

// wantsDNS: the default network has no names, as with Docker.
func (sb *sandbox) wantsDNS() bool {
	return slices.ContainsFunc(sb.endpoints, func(ep *endpoint) bool { return ep.want.Network != DefaultName })
}

func (m *Manager) serveDNS(sb *sandbox, s *dnsSockets) error {
	r := &dns.Resolver{Zone: m.zone, Forward: m.forward, View: func() dns.View {
		v := sb.view.Load()
		if v == nil {
			return dns.View{ID: sb.id}
		}
		out := dns.View{ID: sb.id, Upstreams: v.servers}
		for _, a := range v.endpoints {
			out.Networks = append(out.Networks, a.Network)
		}
		out.Links = v.links
		if out.Upstreams == nil && !v.isolated {
			out.Upstreams = m.resolv.upstreams()
		}
		return out
	}}
	if err := r.Serve(s.udp, s.tcp); err != nil {
		return fmt.Errorf("network sandbox %q: %w", sb.id, err)
	}
	sb.resolver = r
	return nil
}

// publishNames makes a sandbox's names and view what its endpoints say. The
// caller holds sb.mu.
func (m *Manager) publishNames(sb *sandbox) {
	v := &view{isolated: true}
	for _, s := range sb.dns.Servers {
		v.servers = append(v.servers, dns.Upstream{Addr: netip.AddrPortFrom(s, 53), Dialer: within(sb.path)})
	}
	for _, ep := range sb.ranked() {
		ep.as.GatewayPriority = ep.want.GatewayPriority
		ep.as.Names = nil
		if ep.want.Network != DefaultName {
			for _, n := range append(slices.Clone(ep.want.Aliases), sb.id[:min(12, len(sb.id))], sb.hostname) {
				if n != "" && !slices.Contains(ep.as.Names, n) {
					ep.as.Names = append(ep.as.Names, n)
				}
			}
			r := dns.Record{ID: sb.id, Names: ep.as.Names}
			for _, p := range []netip.Prefix{ep.as.IPv4, ep.as.IPv6} {
				if p.IsValid() {
					r.Addrs = append(r.Addrs, p.Addr())
				}
			}
			m.zone.Set(ep.want.Network, r)
		}
		if len(ep.want.Links) > 0 {
			if v.links == nil {
				v.links = map[string]map[string]string{}
			}
			v.links[ep.want.Network] = ep.want.Links
		}
		v.isolated = v.isolated && ep.bridge.rec.Internal
		v.endpoints = append(v.endpoints, ep.as)
	}
	sb.view.Store(v)
}

// SetLive says whether a container runs: only then others find its names.
func (m *Manager) SetLive(id string, live bool) {
	m.mu.Lock()
	defer m.mu.Unlock() // so that a release cannot come in between
	sb := m.sandboxes[id]
	if sb == nil {
		return
	}
	sb.stopped.Store(!live)
	m.zone.SetLive(id, live)
}

// SetNames replaces the names of a container on one network, its own first.
func (m *Manager) SetNames(id, network string, names []string) error {
	sb, err := m.lockSandbox(id, false)
	if err != nil {
		return err
	}
	defer sb.mu.Unlock()
	for _, ep := range sb.endpoints {
		if ep.want.Network == network {
			ep.want.Aliases = slices.Clone(names)
			m.publishNames(sb)
			return nil
		}
	}
	return fmt.Errorf("network sandbox %q is not connected to network %q: %w", id, network, errdefs.ErrNotFound)
}

// within dials from the namespace at its path: servers that a user named for a
// container may be reachable only from there.
type within string

func (path within) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var d net.Dialer
	if derr := ns.Do(string(path), func() error {
		conn, err = d.DialContext(ctx, network, address)
		return nil
	}); derr != nil {
		return nil, derr
	}
	return conn, err
}

// resolvers are the host's DNS servers, read anew when the file has changed.
type resolvers struct {
	path string
	mu   sync.Mutex
	seen time.Time
	size int64
	list []dns.Upstream
}

func (r *resolvers) upstreams() []dns.Upstream {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, err := os.Stat(r.path)
	if err != nil {
		return r.list // between two versions of the file
	}
	if r.seen.Equal(st.ModTime()) && r.size == st.Size() {
		return r.list
	}
	data, err := os.ReadFile(r.path)
	if err != nil {
		return r.list
	}
	r.seen, r.size, r.list = st.ModTime(), st.Size(), nil
	for _, s := range parseResolv(data).servers {
		r.list = append(r.list, dns.Upstream{Addr: netip.AddrPortFrom(s, 53), Dialer: &net.Dialer{}})
	}
	return r.list
}

func (r *resolvers) servers() (out []netip.AddrPort) {
	for _, u := range r.upstreams() {
		out = append(out, u.Addr)
	}
	return out
}

func mapKeys[V any](m map[string]V) func(func(string) bool) { return maps.Keys(m) }
