// Package containerd runs containerd's server inside this process and offers
// what Gantry needs of it: images, container file systems, tasks and execs,
// with plain values in and out.
//
// Upstream's client is imported as ctd. Errors keep their errdefs class.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/api/types/runc/options"
	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/cmd/containerd/server"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/hashicorp/go-multierror"
	"github.com/sirupsen/logrus"
)

// exitsEnv tells the shim where to record exits.
const exitsEnv = "GANTRY_EXITS"

// maxState is what the shims' socket paths leave for Config.State: a unix
// socket's path has at most 107 bytes, and a shim's name takes 65 of them.
const maxState = 40

// Config says where a runtime lives.
//
//	Root/   content, snapshots, metadata (survive a reboot)
//	State/  c.sock, c.sock.ttrpc   containerd's own sockets
//	        s/                     the shims' sockets
//	        runc/                  runc's state
//	        mnt/                   file systems mounted for a moment
//	        io.containerd.…/       bundles of the running tasks
type Config struct {
	Root      string // absolute
	State     string // absolute, at most 40 bytes, on a file system that a reboot empties
	Namespace string // containerd's namespace, "gantry" when empty
	ShimPath  string // absolute path of gantry-shim
	RuncPath  string // runc's path or name, "runc" when empty
	ExitsDir  string // where shims record exits, State/exits when empty
	Address   string // not empty: socket of a containerd that runs elsewhere
	LogLevel  string // of containerd's own messages, "error" when empty

	Registries Registries
}

func (c Config) socket() string      { return filepath.Join(c.State, "c.sock") }
func (c Config) shimSockets() string { return filepath.Join(c.State, "s") }
func (c Config) runcRoot() string    { return filepath.Join(c.State, "runc") }
func (c Config) mounts() string      { return filepath.Join(c.State, "mnt") }

func (c Config) complete() (Config, error) {
	if c.Namespace == "" {
		c.Namespace = "gantry"
	}
	if c.RuncPath == "" {
		c.RuncPath = "runc"
	}
	if c.LogLevel == "" {
		c.LogLevel = "error"
	}
	if c.ExitsDir == "" {
		c.ExitsDir = filepath.Join(c.State, "exits")
	}
	for _, p := range []struct{ name, path string }{{"root", c.Root}, {"state", c.State}, {"shim path", c.ShimPath}, {"exits directory", c.ExitsDir}} {
		if !filepath.IsAbs(p.path) {
			return c, fmt.Errorf("containerd: %s %q is not an absolute path: %w", p.name, p.path, errdefs.ErrInvalidArgument)
		}
	}
	if len(c.State) > maxState {
		return c, fmt.Errorf("containerd: state directory %q is longer than %d bytes, shims' socket paths would not fit; choose a shorter one: %w", c.State, maxState, errdefs.ErrInvalidArgument)
	}
	if _, err := logrus.ParseLevel(c.LogLevel); err != nil {
		return c, fmt.Errorf("containerd: log level %q: %w", c.LogLevel, errdefs.ErrInvalidArgument)
	}
	return c, nil
}

// Runtime is one containerd with one namespace. Its methods may be called
// concurrently.
type Runtime struct {
	cfg         Config
	client      *ctd.Client
	server      *server.Server // this and metadata are nil when containerd runs elsewhere
	metadata    *metadata.DB
	snapshotter string
	shim        string // what containerd runs as the runtime
	log         *log.Entry
	stop        context.CancelFunc
	events      sync.WaitGroup

	exits   *feed[Exit]
	ooms    *feed[OOM]
	groups  groups
	endings endings
	parsed  imageCache
	naming  sync.Mutex // guards what several image names say together
	garbage *collector
	pulls   pulls
	root    *os.File // holds the lock of Config.Root, nil when containerd runs elsewhere
}

// Open starts containerd in this process, or connects to Config.Address, and
// adopts the tasks that run. Exits are recorded from here on, see Exits.
func Open(ctx context.Context, cfg Config) (_ *Runtime, err error) {
	cfg, err = cfg.complete()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{cfg.State, cfg.ExitsDir, cfg.mounts(), cfg.shimSockets()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, fmt.Errorf("containerd: %w", err)
		}
	}
	// The server outlives the call: its context ends with Close alone.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Runtime{cfg: cfg, shim: cfg.ShimPath, stop: stop, log: quietLog(run, cfg.LogLevel), exits: newFeed[Exit](), ooms: newFeed[OOM](), garbage: newCollector()}
	run = log.WithLogger(run, r.log)
	defer func() {
		if err != nil {
			err = multierror.Append(err, r.Close(context.WithoutCancel(ctx))).ErrorOrNil()
		}
	}()
	if cfg.Address == "" {
		err = r.embed(run)
	} else {
		err = r.connect(run)
	}
	if err != nil {
		return nil, err
	}
	if err := r.unmountLeftovers(); err != nil {
		r.log.WithError(err).Warn("file systems mounted by an earlier run are still there")
	}
	ctx = r.with(ctx)
	if err := r.ensureSandbox(ctx); err != nil {
		return nil, err
	}
	if err := r.adopt(ctx); err != nil {
		return nil, err
	}
	r.events.Go(func() { r.collectRemoved(run) })
	return r, nil
}

func (r *Runtime) embed(run context.Context) (err error) {
	if r.root, err = lockRoot(r.cfg.Root); err != nil {
		return err
	}
	srv, out, err := embed(run, r.cfg)
	if err != nil {
		return err
	}
	r.server, r.client, r.metadata = srv, out.client, out.metadata
	r.metadata.RegisterMutationCallback(func(removed bool) {
		if removed {
			r.garbage.request()
		}
	})
	if r.snapshotter, err = out.snapshotter(); err != nil {
		return err
	}
	// Shims deliver what they held back as soon as the server listens.
	r.subscribe(run)
	if err := srv.Start(run); err != nil {
		return fmt.Errorf("containerd's sockets in %q: %w", r.cfg.State, err)
	}
	srv.Wait()
	return nil
}

// Close ends the server. Containers and their shims run on.
//
// A process that opens the same root again must not do so before Close has
// returned, and should not replace tasks that the closed runtime started: the
// closed one's connections to their shims still see them end.
func (r *Runtime) Close(context.Context) error {
	r.stop()
	r.events.Wait()
	r.groups.release()
	switch {
	case r.server != nil:
		r.server.Stop()
	case r.client != nil:
		return r.client.Close()
	}
	if r.root != nil {
		return r.root.Close()
	}
	return nil
}

// with gives a call its namespace and keeps containerd's messages at the
// configured level.
func (r *Runtime) with(ctx context.Context) context.Context {
	return log.WithLogger(namespaces.WithNamespace(ctx, r.cfg.Namespace), r.log)
}

func (r *Runtime) snapshots() snapshots.Snapshotter { return r.client.SnapshotService(r.snapshotter) }

func (r *Runtime) runcOptions() *options.Options {
	return &options.Options{BinaryName: r.cfg.RuncPath, Root: r.cfg.runcRoot()}
}

// Snapshotter names the snapshotter in use: overlayfs, or native where
// overlayfs does not work.
func (r *Runtime) Snapshotter() string { return r.snapshotter }

// Namespace is containerd's namespace that all of this is in.
func (r *Runtime) Namespace() string { return r.cfg.Namespace }

// Runc is the runtime's program.
func (r *Runtime) Runc() string { return r.cfg.RuncPath }

// quietLog writes where the process logs, but has a level of its own: what
// containerd calls information (each plugin, each task's end) is for who debugs.
func quietLog(run context.Context, level string) *log.Entry {
	l := logrus.New()
	l.SetOutput(log.L.Logger.Out)
	l.SetFormatter(log.L.Logger.Formatter)
	if lv, err := logrus.ParseLevel(level); err == nil {
		if lv == logrus.InfoLevel {
			lv = logrus.WarnLevel
		}
		l.SetLevel(lv)
	}
	// A server that is closed before it has come to serve calls this fatal.
	l.ExitFunc = func(code int) {
		if run.Err() == nil {
			os.Exit(code)
		}
	}
	return logrus.NewEntry(l).WithField("module", "containerd")
}

// ensureSandbox makes the one record that containers need to name so that
// containerd lets them join a shim by its address.
func (r *Runtime) ensureSandbox(ctx context.Context) error {
	_, err := r.client.SandboxStore().Get(ctx, sandboxID)
	if !errdefs.IsNotFound(err) {
		return err
	}
	_, err = r.client.SandboxStore().Create(ctx, sandbox.Sandbox{ID: sandboxID, Runtime: sandbox.RuntimeOpts{Name: r.shim}, Sandboxer: "gantry"})
	if err != nil && !errors.Is(err, errdefs.ErrAlreadyExists) {
		return fmt.Errorf("containerd: sandbox record %q: %w", sandboxID, err)
	}
	return nil
}

// Client is containerd's own client, for those who build images on the same
// store. Its calls need the namespace in their context.
func (r *Runtime) Client() *ctd.Client { return r.client }
