package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"sync/atomic"

	"gantry/network/dns"
	"gantry/network/ns"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
)

// Sandbox is the network of one container, as it should be.
type Sandbox struct {
	ID       string // of the container; also a file name
	Hostname string // a name of it on its networks, "" for none
	// Endpoints in the order in which interfaces are numbered.
	Endpoints []Endpoint
	DNS       DNS
}

// DNS is what a container was told to use instead of the host's settings.
type DNS struct {
	Servers []netip.Addr // asked from within the container's namespace
	Search  []string
	Options []string
}

// Endpoint is a container's place on one network, as it should be.
type Endpoint struct {
	Network         string            // name
	IPv4, IPv6      netip.Addr        // fixed or held before, invalid: any
	More            []netip.Addr      // further addresses, which nobody else is kept from having; Docker's link-local ones
	MAC             net.HardwareAddr  // nil: made from the address
	Aliases         []string          // names on this network, the container's own first
	Links           map[string]string // names that only this container knows, each for another name on this network
	IfName          string            // "": the next ethN
	GatewayPriority int               // the highest has the default route; ties by name
	Sysctls         map[string]string // as "net.ipv4.conf.IFNAME.log_martians"
}

// Assigned is an endpoint as it is.
type Assigned struct {
	Network, NetworkID string
	EndpointID         string
	IfName             string
	MAC                net.HardwareAddr
	IPv4, IPv6         netip.Prefix // invalid without the family; with the subnet's length
	Gateway4, Gateway6 netip.Addr   // the network's, invalid on an internal one
	GatewayPriority    int
	Names              []string // by which the network's containers find it
}

// Result of Ensure.
type Result struct {
	Path      string     // of the namespace
	Endpoints []Assigned // in the request's order
	// EmbeddedDNS says that names are answered at 127.0.0.11: see ResolvConf.
	EmbeddedDNS bool
}

// ErrAddressInUse is what errors about a fixed address that another container
// holds are; they are errdefs.ErrAlreadyExists too. See AddressInUseError.
var ErrAddressInUse = fmt.Errorf("address in use: %w", errdefs.ErrAlreadyExists)

// AddressInUseError says which address and who holds it: the ID of a sandbox,
// "gateway" or "reserved".
type AddressInUseError struct {
	Network string
	Addr    netip.Addr
	Holder  string
}

func (e *AddressInUseError) Error() string {
	return fmt.Sprintf("Address already in use: %s on network %q is held by %.12q", e.Addr, e.Network, e.Holder)
}

func (e *AddressInUseError) Unwrap() error { return ErrAddressInUse }

// sandbox is one container's network in memory. mu orders the operations on
// it; view is what others read.
type sandbox struct {
	id, path string
	view     atomic.Pointer[view]
	stopped  atomic.Bool // ran, and does not run now: its addresses can be had

	mu        lock
	gone      bool // released: whoever waited for mu starts anew
	known     bool // what its namespace held before has been looked at
	hostname  string
	dns       DNS
	endpoints []*endpoint
	resolver  *dns.Resolver
	bindings  []*binding
}

// view is a sandbox at one moment.
type view struct {
	endpoints []Assigned // gateway first, then by name: the order of look-ups
	servers   []dns.Upstream
	links     map[string]map[string]string // of its own, by network
	isolated  bool                         // no way out: nothing is passed on to the host's resolvers
}

// endpoint is an interface that exists or is being made.
type endpoint struct {
	want   Endpoint
	as     Assigned
	bridge *bridge
	device string // the host's end
	index  int    // its index
}

var idPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Path is where the namespace of a sandbox is, or would be, pinned.
func (m *Manager) Path(id string) string { return filepath.Join(m.cfg.RunDir, id) }

// lockSandbox returns the sandbox of an ID, locked.
func (m *Manager) lockSandbox(id string, create bool) (*sandbox, error) {
	for {
		m.mu.Lock()
		sb := m.sandboxes[id]
		if sb == nil {
			if !create {
				m.mu.Unlock()
				return nil, fmt.Errorf("network sandbox %q: %w", id, errdefs.ErrNotFound)
			}
			sb = &sandbox{id: id, path: m.Path(id), mu: newLock()}
			m.sandboxes[id] = sb
		}
		m.mu.Unlock()
		sb.mu.Lock()
		if !sb.gone {
			return sb, nil
		}
		sb.mu.Unlock()
	}
}

// Ensure makes a sandbox what it should be: a namespace with an interface per
// endpoint, addresses, routes and name service. What is there already, of this
// or of an earlier daemon, is adopted; interfaces that are not asked for go. A
// fixed address that somebody else holds is an *AddressInUseError; nothing of
// a new sandbox is left when it fails.
func (m *Manager) Ensure(ctx context.Context, want Sandbox) (Result, error) {
	if !idPattern.MatchString(want.ID) {
		return Result{}, fmt.Errorf("network sandbox %q: not a container ID: %w", want.ID, errdefs.ErrInvalidArgument)
	}
	if err := m.jobs.wait(ctx, want.ID); err != nil {
		return Result{}, err
	}
	sb, err := m.lockSandbox(want.ID, true)
	if err != nil {
		return Result{}, err
	}
	defer sb.mu.Unlock()
	fresh := len(sb.endpoints) == 0 && !ns.Pinned(sb.path)
	sb.hostname, sb.dns = want.Hostname, want.DNS
	sb.stopped.Store(false)
	if err := m.ensure(ctx, sb, want.Endpoints); err != nil {
		err = fmt.Errorf("network sandbox %q: %w", want.ID, err)
		if fresh {
			err = errors.Join(err, m.release(ctx, sb))
		}
		return Result{}, err
	}
	return sb.result(want.Endpoints), nil
}

func (m *Manager) ensure(ctx context.Context, sb *sandbox, wanted []Endpoint) error {
	seen := map[string]bool{}
	for _, w := range wanted {
		if seen[w.Network] {
			return fmt.Errorf("network %q is named twice: %w", w.Network, errdefs.ErrInvalidArgument)
		}
		seen[w.Network] = true
	}
	var extra []*endpoint
	sb.endpoints = slices.DeleteFunc(sb.endpoints, func(ep *endpoint) bool {
		if seen[ep.want.Network] {
			return false
		}
		extra = append(extra, ep)
		return true
	})
	if err := m.dropEndpoints(sb, extra); err != nil {
		return err
	}
	var added []*endpoint
	undo := func(err error) error {
		sb.endpoints = slices.DeleteFunc(sb.endpoints, func(ep *endpoint) bool { return slices.Contains(added, ep) })
		return errors.Join(err, m.dropEndpoints(sb, added))
	}
	for _, w := range wanted {
		if i := slices.IndexFunc(sb.endpoints, func(ep *endpoint) bool { return ep.want.Network == w.Network }); i >= 0 {
			have := &sb.endpoints[i].want
			have.Aliases, have.Links, have.GatewayPriority = w.Aliases, w.Links, w.GatewayPriority
			continue
		}
		ep, err := m.allocate(ctx, sb.id, w)
		if err != nil {
			return undo(err)
		}
		added = append(added, ep)
		sb.endpoints = append(sb.endpoints, ep)
	}
	for _, ep := range added {
		if err := m.bringUp(ctx, ep.bridge); err != nil {
			return undo(err)
		}
	}
	if err := foreign(ctx, m.fw.Check()); err != nil {
		return undo(err)
	}
	if err := m.realize(sb); err != nil {
		return undo(err)
	}
	m.publishNames(sb)
	return m.retarget(sb)
}

// numberInterfaces gives ethN to endpoints without a name.
func (sb *sandbox) numberInterfaces() {
	used := map[string]bool{}
	for _, ep := range sb.endpoints {
		used[ep.as.IfName] = true
	}
	n := 0
	for _, ep := range sb.endpoints {
		for ep.as.IfName == "" {
			if name := fmt.Sprintf("eth%d", n); !used[name] {
				ep.as.IfName, used[name] = name, true
			}
			n++
		}
	}
}

// gateways picks the endpoints that have the default routes, nil for none:
// Docker's rule of gw_priority.
func (sb *sandbox) gateways() (v4, v6 *endpoint) {
	for _, ep := range sb.ranked() {
		if v4 == nil && ep.as.IPv4.IsValid() && ep.as.Gateway4.IsValid() {
			v4 = ep
		}
		if v6 == nil && ep.as.IPv6.IsValid() && ep.as.Gateway6.IsValid() {
			v6 = ep
		}
	}
	return v4, v6
}

func (sb *sandbox) ranked() []*endpoint {
	return slices.SortedFunc(slices.Values(sb.endpoints), func(a, b *endpoint) int {
		return cmp.Or(cmp.Compare(b.want.GatewayPriority, a.want.GatewayPriority), cmp.Compare(a.want.Network, b.want.Network))
	})
}

func (sb *sandbox) result(wanted []Endpoint) Result {
	r := Result{Path: sb.path, EmbeddedDNS: sb.resolver != nil}
	for _, w := range wanted {
		for _, ep := range sb.endpoints {
			if ep.want.Network == w.Network {
				r.Endpoints = append(r.Endpoints, ep.as)
			}
		}
	}
	return r
}

// Connect adds an endpoint to a sandbox, whose processes may run.
func (m *Manager) Connect(ctx context.Context, id string, want Endpoint) (Assigned, error) {
	sb, err := m.lockSandbox(id, false)
	if err != nil {
		return Assigned{}, err
	}
	defer sb.mu.Unlock()
	wanted := make([]Endpoint, 0, len(sb.endpoints)+1)
	for _, ep := range sb.endpoints {
		if ep.want.Network == want.Network {
			return Assigned{}, fmt.Errorf("network sandbox %q is connected to network %q already: %w", id, want.Network, errdefs.ErrAlreadyExists)
		}
		wanted = append(wanted, ep.want)
	}
	if err := m.ensure(ctx, sb, append(wanted, want)); err != nil {
		return Assigned{}, fmt.Errorf("network sandbox %q: %w", id, err)
	}
	return sb.result([]Endpoint{want}).Endpoints[0], nil
}

// Disconnect takes an endpoint away from a sandbox.
func (m *Manager) Disconnect(ctx context.Context, id, network string) error {
	sb, err := m.lockSandbox(id, false)
	if err != nil {
		return err
	}
	defer sb.mu.Unlock()
	var wanted []Endpoint
	for _, ep := range sb.endpoints {
		if ep.want.Network != network {
			wanted = append(wanted, ep.want)
		}
	}
	if len(wanted) == len(sb.endpoints) {
		return fmt.Errorf("network sandbox %q is not connected to network %q: %w", id, network, errdefs.ErrNotFound)
	}
	if err := m.ensure(ctx, sb, wanted); err != nil {
		return fmt.Errorf("network sandbox %q: %w", id, err)
	}
	return nil
}

// Release takes a sandbox away: published ports, names, and, in the background,
// interfaces, addresses and the namespace (see Flush). One that is not known is
// looked for on the host.
func (m *Manager) Release(ctx context.Context, id string) error {
	sb, err := m.lockSandbox(id, false)
	if errdefs.IsNotFound(err) {
		if idPattern.MatchString(id) && ns.Pinned(m.Path(id)) && !m.jobs.busy(id) {
			m.jobs.start(id, func() error { return m.removeNamespace(m.Path(id)) })
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer sb.mu.Unlock()
	return m.release(ctx, sb)
}

// release does what Release says. The caller holds sb.mu.
func (m *Manager) release(ctx context.Context, sb *sandbox) error {
	var merr *multierror.Error
	merr = multierror.Append(merr, m.unpublish(ctx, sb))
	sb.closeSockets()
	endpoints := sb.endpoints
	sb.endpoints, sb.gone = nil, true
	m.mu.Lock()
	m.zone.SetLive(sb.id, false)
	for _, ep := range endpoints {
		ep.bridge.leaving[sb.id] = true
	}
	delete(m.sandboxes, sb.id)
	m.mu.Unlock()
	for _, ep := range endpoints {
		m.zone.Remove(ep.want.Network, sb.id)
	}
	// Before anybody can find the sandbox missing, so that Ensure of the same
	// ID waits for it: the lock is still held.
	m.jobs.start(sb.id, func() error {
		var merr *multierror.Error
		for _, ep := range endpoints {
			merr = multierror.Append(merr, m.deleteEndpoint(ep))
		}
		merr = multierror.Append(merr, m.removeNamespace(sb.path))
		m.free(sb.id, endpoints)
		return merr.ErrorOrNil()
	})
	return merr.ErrorOrNil()
}

// closeSockets ends name service and proxies, without which the container's
// network goes on. The caller holds sb.mu.
func (sb *sandbox) closeSockets() {
	if sb.resolver != nil {
		sb.resolver.Close()
		sb.resolver = nil
	}
	for _, b := range sb.bindings {
		b.close()
	}
}
