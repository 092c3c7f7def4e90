package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"gantry/build"
	"gantry/containerd"
	"gantry/containerd/spec"
	"gantry/network"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/events"
)

// lazyBuilder is BuildKit, started at its first use: most daemons never build.
type lazyBuilder struct {
	mu      sync.Mutex
	builder *build.Builder
}

// builder returns BuildKit. One that could not be started is tried again by
// the next call.
func (e *Engine) builder() (*build.Builder, error) {
	e.builds.mu.Lock()
	defer e.builds.mu.Unlock()
	if e.builds.builder != nil {
		return e.builds.builder, nil
	}
	gateways, err := e.hostGateways(e.ctx)
	if err != nil {
		return nil, fmt.Errorf("start BuildKit: %w", err)
	}
	b, err := build.Open(e.ctx, build.Config{
		Root: e.buildRoot(), State: e.buildState(),
		Namespace: e.rt.Namespace(), Snapshotter: e.rt.Snapshotter(), RuncPath: e.rt.Runc(), CgroupParent: "/" + e.cgroupParent(),
		Images: e.rt.ImageStore(), Dangling: containerd.Dangling, Unpack: e.rt.UnpackBuilt, Made: e.imageMade, Hosts: e.rt.RegistryHosts, Collect: e.cfg.BuildCache, HostGateway: gateways, Version: e.cfg.Version,
		Compress: containerd.Gzip, Garbage: e.rt.Collect, Room: e.room.spend, Step: e.stepRuns, Limits: stepLimits(e.facts),
	}, e.rt.Client(), stepNetwork{e.net})
	if err != nil {
		return nil, fmt.Errorf("start BuildKit: %w", err)
	}
	e.builds.builder = b
	return b, nil
}

// stepRuns keeps the cgroups that steps are in until end, and has those removed
// that nobody is in any more.
func (e *Engine) stepRuns() (end func()) {
	e.cgroups.RLock()
	return func() {
		e.cgroups.RUnlock()
		e.dropCgroups()
	}
}

// mostTasks is more than steps of builds have.
const mostTasks = 16384

// stepLimits leave the daemon what it needs to end a step: it must be able to
// start processes, and out of memory it is the step that ends. A step has a
// quarter of the tasks that the host can have, at most.
func stepLimits(f spec.Facts) build.Limits {
	l := build.Limits{OOMScoreAdj: spec.OOMScoreAdj(0, f)}
	if f.AppArmor {
		l.AppArmor = spec.AppArmorProfile
	}
	if f.Pids {
		l.Pids = mostTasks
		for _, name := range []string{"pid_max", "threads-max"} {
			b, err := os.ReadFile("/proc/sys/kernel/" + name)
			if n, nerr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && nerr == nil {
				l.Pids = min(l.Pids, n/4)
			}
		}
	}
	return l
}

// imageMade publishes Docker's events of an image that was built, and returns
// its ID.
func (e *Engine) imageMade(digest string, names []string) string {
	img, err := e.rt.Image(e.ctx, digest)
	if errdefs.IsNotFound(err) { // it was not to be kept
		return ""
	}
	if err != nil {
		log.G(e.ctx).WithError(err).Warnf("image %q that was just built: nobody is told of it", digest)
		return ""
	}
	e.emitImage(events.ActionCreate, img.ID, img.ID, img.Config.Labels)
	for _, name := range names {
		e.emitTag(img, name)
	}
	return img.ID
}

// hostGateways are the addresses that this host has on the default network.
func (e *Engine) hostGateways(ctx context.Context) ([]netip.Addr, error) {
	n, err := e.net.Default(ctx)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, c := range n.IPAM.Config {
		if c.Gateway.IsValid() {
			out = append(out, c.Gateway)
		}
	}
	return out, nil
}

// sweepBuilds ends the steps of builds that a killed daemon left running.
func (e *Engine) sweepBuilds(ctx context.Context) error {
	if err := build.Sweep(ctx, e.buildRoot(), e.buildState(), e.rt.Runc()); err != nil {
		return fmt.Errorf("steps of builds that a killed daemon left: %w", err)
	}
	return nil
}

// hasBuilt tells whether there can be anything that builds have cached.
func (e *Engine) hasBuilt() (bool, error) {
	_, err := os.Stat(e.buildRoot())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// buildRoot is where BuildKit keeps its records, from its first start on.
func (e *Engine) buildRoot() string { return filepath.Join(e.cfg.DataRoot, "buildkit") }

// buildState is where the steps of builds have their bundles.
func (e *Engine) buildState() string { return filepath.Join(e.cfg.RunRoot, "build") }

// closeBuilder ends all builds.
func (e *Engine) closeBuilder() error {
	e.builds.mu.Lock()
	defer e.builds.mu.Unlock()
	if e.builds.builder == nil {
		return nil
	}
	err := e.builds.builder.Close()
	e.builds.builder = nil
	return err
}

// ServeBuildKit answers BuildKit's gRPC services on conn, until it is closed.
func (e *Engine) ServeBuildKit(ctx context.Context, conn net.Conn) error {
	b, err := e.builder()
	if err != nil {
		return err
	}
	return b.ServeConn(ctx, conn)
}

// ServeSession keeps a build client's session on conn, until it is closed.
// header is that of the request that opened it.
func (e *Engine) ServeSession(ctx context.Context, conn net.Conn, header map[string][]string) error {
	b, err := e.builder()
	if err != nil {
		return err
	}
	return b.ServeSession(ctx, conn, header)
}

// stepNetwork puts the steps of builds on the default network. What a killed
// daemon left of them is swept with all namespaces that no container has.
type stepNetwork struct{ m *network.Manager }

func (s stepNetwork) Attach(ctx context.Context, id string) (string, error) {
	r, err := s.m.Ensure(ctx, network.Sandbox{ID: id, Endpoints: []network.Endpoint{{Network: network.DefaultName}}})
	return r.Path, err
}

func (s stepNetwork) Detach(ctx context.Context, id string) error { return s.m.Release(ctx, id) }
