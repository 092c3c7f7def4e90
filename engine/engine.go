// Package engine owns the runtime's objects: containers, images, networks,
// volumes, their names and events. It is the only writer of all of them, and it
// supervises what runs: health checks, restart policies, recovery.
package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	ctd "gantry/containerd"
	"gantry/containerd/spec"
	"gantry/network"
	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/locker"
)

// Config says where an engine keeps things and what it works with.
type Config struct {
	DataRoot string // records and data that outlive a reboot
	RunRoot  string // what a reboot wipes; its path has at most 60 characters
	Instance string // tells daemons of one host apart, "" for the default one
	InitPath string // binary that is PID 1 in containers with init
	// LogDriver and LogOpts are for containers that do not choose.
	LogDriver string
	LogOpts   map[string]string
	Defaults  Defaults
	DNS       network.DNS // likewise, each of its lists
	CDIDirs   []string    // where CDI specifications of devices are
	// BuildCache says what of the build cache goes by itself; nil is BuildKit's
	// size by default, empty nothing.
	BuildCache []CacheRules
	Version    string
	// Labels are the daemon's own. They and what the network and the image store
	// were configured with are for Info to tell.
	Labels                              []string
	Pools                               []network.Pool
	InsecureRegistries, RegistryMirrors []string
}

// Engine implements scheduler.Driver and the Engine API's verbs.
type Engine struct {
	cfg     Config
	rt      *ctd.Runtime
	net     *network.Manager
	volumes *volumes.Store
	bus     *bus
	facts   spec.Facts
	builds  lazyBuilder
	classic classicJobs

	id         string             // kept in the data root
	components func() []Component // found when first asked for
	ctx        context.Context    // ends when the engine closes
	cancel     context.CancelFunc
	work       sync.WaitGroup // ends and restarts of containers that are being dealt with

	halting    atomic.Bool    // the host goes down: nothing is started any more
	exclusives *locker.Locker // work on one thing by one at a time, by its name

	eager chan struct{} // one for each eager probe in flight: they take half of the cores at most

	meters meters // of containers whose use of resources somebody watches

	room reserve // on the data root's disk

	cgroups  sync.RWMutex // read: a cgroup below ours is being made; write: ours is removed
	dropping sync.Mutex   // held by the one that removes it

	mu         sync.RWMutex
	containers map[string]*ctr
	names      map[string]string  // name to container ID, those being made included
	mounting   map[string]*record // containers that are being made, by ID: their volumes are not to go
	execs      map[string]*execution
	running    map[string]*execution // execs whose end is awaited, health probes included
	projects   map[string]*projectLock
}

// Open takes over what an earlier engine on the same roots left: containers
// that run are adopted, what broke off is undone, and Recover starts again what
// is meant to run.
func Open(ctx context.Context, cfg Config, rt *ctd.Runtime, net *network.Manager, vols *volumes.Store) (*Engine, error) {
	for _, d := range []string{filepath.Join(cfg.DataRoot, "containers"), filepath.Join(cfg.DataRoot, "projects"), filepath.Join(cfg.RunRoot, "io")} {
		if err := os.MkdirAll(d, 0o710); err != nil {
			return nil, fmt.Errorf("engine: %w", err)
		}
	}
	facts, err := spec.Detect()
	if err != nil {
		return nil, fmt.Errorf("engine: what the host offers: %w", err)
	}
	id, err := identity(cfg.DataRoot)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		id: id, components: sync.OnceValue(findComponents),
		cfg: cfg, rt: rt, net: net, volumes: vols, bus: newBus(), facts: facts,
		containers: map[string]*ctr{}, names: map[string]string{}, mounting: map[string]*record{}, execs: map[string]*execution{},
		running: map[string]*execution{}, projects: map[string]*projectLock{}, exclusives: locker.New(),
		eager: make(chan struct{}, max(1, runtime.NumCPU()/2)),
	}
	e.room.path = filepath.Join(cfg.DataRoot, "reserve")
	e.room.fill()
	e.ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.adopt(ctx); err != nil {
		e.cancel()
		return nil, fmt.Errorf("engine: take over what was there: %w", err)
	}
	e.work.Go(func() { e.dispatch(rt.Exits(e.ctx), rt.OOMs(e.ctx)) })
	return e, nil
}

// Close stops supervising. Containers run on.
func (e *Engine) Close() {
	if err := e.closeBuilder(); err != nil {
		log.G(e.ctx).WithError(err).Warn("end builds")
	}
	e.bus.close()
	e.cancel()
	for _, c := range e.all() {
		c.dropPending(fmt.Errorf("the daemon stops: %w", errdefs.ErrUnavailable))
		c.mu.Lock()
		var m *monitor
		if c.run != nil {
			m = c.run.health
		}
		c.mu.Unlock()
		m.stop()
	}
	done := make(chan struct{})
	go func() { e.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(closeEnd):
	}
}

// closeEnd bounds how long Close waits for ends that are being dealt with;
// what is not finished then is finished by the next Open.
const closeEnd = 5 * time.Second

// cleanupContext bounds cleaning up, which a caller's cancel does not reach.
func (e *Engine) cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Minute)
}

func errJoin(errs ...error) error {
	var all *multierror.Error
	for _, err := range errs {
		if err != nil {
			all = multierror.Append(all, err)
		}
	}
	if all == nil {
		return nil
	}
	if len(all.Errors) == 1 {
		return all.Errors[0]
	}
	return all
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
