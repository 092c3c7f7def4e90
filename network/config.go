// Package network gives containers their network: bridges, namespaces,
// addresses, published ports and names.
//
// All of it is done in process, through netlink and nftables. What exists on
// the host is told apart by Config.Instance, so that several daemons live side
// by side:
//
//	<data-root>/networks/<name>.json  what was created; survives a reboot
//	<exec-root>/netns/<id>            a container's namespace, pinned
//	nft table inet gantry[-<tag>]     rules; sets say which bridges are ours,
//	                                  maps which ports lead where
//	gb<tag>-<hash>                    a network's bridge ("gantry0": the default one)
//	gv<tag>-<hash>                    the host's end of a container's interface
package network

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"

	"gantry/network/dns"
	"gantry/network/ipam"
	"gantry/network/nft"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/hashicorp/go-multierror"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Pool is cut into subnets of Size bits.
type Pool = ipam.Pool

// Config of a Manager.
type Config struct {
	Instance string // at most 6 of a-z and 0-9, "" for the host's default daemon
	RunDir   string // for pinned namespaces; on a file system that a reboot empties
	StateDir string // for records
	Pools    []Pool // of both families; a family without any has the defaults
	MTU      int    // of the default network, 0 for the kernel's
	// Options are those that networks get that are created without them.
	Options map[string]string
	// ResolvConf is the host's, "" for /etc/resolv.conf.
	ResolvConf string
}

// Manager owns the networks and sandboxes of one daemon. Its methods are safe
// for concurrent use.
type Manager struct {
	cfg     Config
	host    *netlink.Handle // of the namespace in which the daemon runs
	fw      *nft.Firewall
	zone    *dns.Zone
	forward *dns.Forwarder
	resolv  *resolvers
	jobs    *jobs

	defaults sync.Mutex // held while the default network is made

	mu        sync.Mutex
	networks  map[string]*bridge  // by name
	sandboxes map[string]*sandbox // by ID
	ports     ports
}

var instancePattern = regexp.MustCompile(`^[a-z0-9]{0,6}$`)

// Open loads the networks' records and makes bridges and rules what they say,
// whether they are there or not. Containers' namespaces are left alone until
// Ensure adopts them or Sweep removes them.
func Open(ctx context.Context, cfg Config) (*Manager, error) {
	if !instancePattern.MatchString(cfg.Instance) {
		return nil, fmt.Errorf("network instance %q: use at most 6 of a-z and 0-9: %w", cfg.Instance, errdefs.ErrInvalidArgument)
	}
	for _, p := range cfg.Pools {
		if err := p.Check(); err != nil {
			return nil, err
		}
	}
	if err := CheckOptions(cfg.Options); err != nil {
		return nil, err
	}
	cfg.Pools = withDefaults(cfg.Pools, cfg.Instance)
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = "/etc/resolv.conf"
	}
	for _, dir := range []string{cfg.RunDir, cfg.StateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	m := &Manager{
		cfg: cfg, host: host, fw: nft.New(cfg.Instance),
		zone: dns.NewZone(), forward: dns.NewForwarder(512), resolv: &resolvers{path: cfg.ResolvConf}, jobs: newJobs(16),
		networks: map[string]*bridge{}, sandboxes: map[string]*sandbox{}, ports: ports{},
	}
	if err := m.restore(ctx); err != nil {
		host.Close()
		m.fw.Close()
		return nil, err
	}
	return m, nil
}

// restore reads the records and brings their bridges up. A network that cannot
// be restored is reported in the log: the others must work.
func (m *Manager) restore(ctx context.Context) error {
	records, err := loadRecords(m.cfg.StateDir)
	if err != nil {
		return err
	}
	if err := m.fw.Load(); err != nil {
		return err
	}
	var up []*bridge
	var known []nft.Bridge
	for _, rec := range records {
		if rec.Name == DefaultName {
			rec.Options = m.defaultNetwork().Options // the configuration may be another one now
		}
		b, err := newBridge(rec)
		if err != nil {
			log.G(ctx).WithError(err).Warnf("network %q is not restored", rec.Name)
			continue
		}
		m.networks[rec.Name] = b
		m.zone.SetNetwork(rec.Name, b.subnets()...)
		if rec.Name == DefaultName {
			if _, err := m.host.LinkByName(rec.Bridge); err != nil {
				continue // comes up with its first container
			}
		}
		up, known = append(up, b), append(known, b.filter())
	}
	if len(up) == 0 {
		return nil
	}
	// All at once: traffic of containers that run must not stop while bridge
	// after bridge becomes known.
	if err := foreign(ctx, m.fw.AddBridges(known...)); err != nil {
		return err
	}
	for _, b := range up {
		if err := m.bringUp(ctx, b); err != nil {
			log.G(ctx).WithError(err).Warnf("network %q is not up", b.rec.Name)
		}
	}
	return nil
}

// Close stops answering DNS questions and carrying connections, and waits for
// deletions under way. Networks, containers' interfaces and what the packet
// filter translates stay as they are: containers outlive the daemon.
func (m *Manager) Close(ctx context.Context) error {
	var merr *multierror.Error
	m.mu.Lock()
	boxes := make([]*sandbox, 0, len(m.sandboxes))
	for _, sb := range m.sandboxes {
		boxes = append(boxes, sb)
	}
	m.mu.Unlock()
	for _, sb := range boxes {
		sb.mu.Lock()
		sb.closeSockets()
		sb.mu.Unlock()
	}
	merr = multierror.Append(merr, m.jobs.flush(ctx))
	m.host.Close()
	m.fw.Close()
	return merr.ErrorOrNil()
}

// Flush waits until everything that was released is gone from the host, and
// reports what could not be removed since the last call.
func (m *Manager) Flush(ctx context.Context) error { return m.jobs.flush(ctx) }

// device names an interface of the host: prefix, tag and as much of a hash of
// what it is for as the kernel's 15 characters hold.
func (m *Manager) device(prefix string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	name := prefix + m.cfg.Instance + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))
	return name[:unix.IFNAMSIZ-1]
}

func withDefaults(pools []Pool, instance string) []Pool {
	have4, have6 := false, false
	for _, p := range pools {
		have4, have6 = have4 || p.Base.Addr().Is4(), have6 || p.Base.Addr().Is6()
	}
	if !have4 {
		pools = append(pools, ipam.DefaultPools()...)
	}
	if !have6 {
		machine, _ := os.ReadFile("/etc/machine-id") // without one, all such hosts share a prefix: harmless on bridges
		sum := sha256.Sum256(append([]byte("gantry "+instance+" "), machine...))
		pools = append(pools, ipam.UniqueLocal([5]byte(sum[:5])))
	}
	return pools
}
