package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"gantry/api"
	ctd "gantry/containerd"
	"gantry/engine"
	"gantry/network"
	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-multierror"
)

// shutdownEnd bounds how long a daemon that is told to stop waits for requests
// under way.
const shutdownEnd = 15 * time.Second

// Run is the daemon, until ctx ends. Containers outlive it.
func Run(ctx context.Context, cfg Config, version string) (err error) {
	if err := cfg.check(); err != nil {
		return err
	}
	if cfg.Debug {
		cfg.LogLevel = "debug"
	}
	if err := log.SetLevel(cfg.LogLevel); err != nil {
		return fmt.Errorf("log-level %q: %w: %w", cfg.LogLevel, err, errdefs.ErrInvalidArgument)
	}
	for dir, mode := range map[string]os.FileMode{cfg.DataRoot: 0o710, cfg.ExecRoot: 0o711} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("daemon: %w", err)
		}
	}
	for _, r := range []struct{ flag, dir string }{{"data-root", cfg.DataRoot}, {"exec-root", cfg.ExecRoot}} {
		unlock, err := lockRoot(r.flag, r.dir)
		if err != nil {
			return err
		}
		defer unlock()
	}
	if err := cfg.Proxies.use(); err != nil {
		return err
	}
	if err := ownTemp(cfg.DataRoot); err != nil {
		return err
	}
	if cfg.Pidfile != "" {
		if err := os.WriteFile(cfg.Pidfile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			return fmt.Errorf("pidfile: %w", err)
		}
		defer os.Remove(cfg.Pidfile)
	}

	var closers []func() error
	defer func() {
		all := &multierror.Error{}
		if err != nil {
			all = multierror.Append(all, err)
		}
		for i := len(closers) - 1; i >= 0; i-- {
			if cerr := closers[i](); cerr != nil {
				all = multierror.Append(all, cerr)
			}
		}
		err = all.ErrorOrNil()
	}()

	eng, err := open(ctx, cfg, version, &closers)
	if err != nil {
		return err
	}
	listeners, err := listen(cfg, &closers)
	if err != nil {
		return err
	}
	recovered := make(chan struct{})
	rctx, stopRecovery := context.WithCancel(ctx)
	go func() {
		defer close(recovered)
		if err := eng.Recover(rctx); err != nil && rctx.Err() == nil {
			log.G(ctx).WithError(err).Error("not everything that was meant to run could be started")
		}
	}()
	closers = append(closers, func() error { stopRecovery(); <-recovered; return nil })

	notify(ctx, daemon.SdNotifyReady)
	log.G(ctx).WithField("hosts", cfg.hosts()).WithField("data-root", cfg.DataRoot).Info("gantry daemon is ready")
	serveErr := api.NewServer(eng, version).Serve(ctx, listeners)
	notify(ctx, daemon.SdNotifyStopping)
	stopRecovery()
	<-recovered
	if hostGoesDown(context.WithoutCancel(ctx)) {
		halt(context.WithoutCancel(ctx), eng)
	}
	if serveErr != nil && !errors.Is(serveErr, context.Canceled) {
		return fmt.Errorf("serve: %w", serveErr)
	}
	log.G(ctx).Info("gantry daemon stops; containers run on")
	return nil
}

// open builds the engine from its parts. What must be closed is added to
// closers in the order of opening.
func open(ctx context.Context, cfg Config, version string, closers *[]func() error) (*engine.Engine, error) {
	shim, err := besideUs("gantry-shim")
	if err != nil {
		return nil, err
	}
	rt, err := ctd.Open(ctx, ctd.Config{
		Root: filepath.Join(cfg.DataRoot, "containerd"), State: filepath.Join(cfg.ExecRoot, "ctd"), Namespace: "gantry",
		ShimPath: shim, ExitsDir: filepath.Join(cfg.ExecRoot, "exits"), Address: cfg.Containerd, LogLevel: cfg.LogLevel,
		Registries: cfg.registries(),
	})
	if err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	*closers = append(*closers, func() error {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownEnd)
		defer cancel()
		return rt.Close(cctx)
	})
	nets, err := network.Open(ctx, network.Config{
		Instance: cfg.instance(), RunDir: filepath.Join(cfg.ExecRoot, "netns"), StateDir: filepath.Join(cfg.DataRoot, "networks"), Pools: cfg.pools(),
		MTU: cfg.MTU, Options: cfg.NetworkOptions["bridge"],
	})
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	*closers = append(*closers, func() error {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownEnd)
		defer cancel()
		return nets.Close(cctx)
	})
	vols, err := volumes.Open(filepath.Join(cfg.DataRoot, "volumes"))
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	names, err := cfg.dns()
	if err != nil {
		return nil, err
	}
	cache, err := cfg.Builder.rules()
	if err != nil {
		return nil, err
	}
	defaults, err := cfg.Containers.defaults()
	if err != nil {
		return nil, err
	}
	eng, err := engine.Open(ctx, engine.Config{
		DataRoot: cfg.DataRoot, RunRoot: cfg.ExecRoot, Instance: cfg.instance(), InitPath: shim,
		LogDriver: cfg.LogDriver, LogOpts: cfg.LogOpts, Defaults: defaults, DNS: names, CDIDirs: cfg.cdiDirs(), Version: version,
		Labels: cfg.Labels, Pools: cfg.pools(), InsecureRegistries: cfg.InsecureRegistries, RegistryMirrors: cfg.RegistryMirrors, BuildCache: cache,
	}, rt, nets, vols)
	if err != nil {
		return nil, err
	}
	*closers = append(*closers, func() error { eng.Close(); return nil })
	return eng, nil
}

// listen opens the sockets, and links the name that Docker's clients know.
func listen(cfg Config, closers *[]func() error) ([]net.Listener, error) {
	if err := unlinkSocket(cfg.ExecRoot); err != nil { // left by a daemon that was killed
		return nil, err
	}
	listeners, err := api.Listen(cfg.hosts(), cfg.Group)
	if err != nil || !cfg.linked() {
		return listeners, err
	}
	if err := linkSocket(cfg.ExecRoot); err != nil {
		all := multierror.Append(nil, err)
		for _, l := range listeners {
			all = multierror.Append(all, l.Close())
		}
		return nil, all
	}
	*closers = append(*closers, func() error { return unlinkSocket(cfg.ExecRoot) })
	return listeners, nil
}

// besideUs finds a program of ours in the directory of this executable, or in
// the place where packages put helpers.
func besideUs(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Dir(self), "/usr/local/libexec/gantry", "/usr/libexec/gantry"} {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not beside %s; install both binaries in one folder: %w", name, self, errdefs.ErrNotFound)
}

// lockRoot makes sure that one daemon alone works on a root.
func lockRoot(flag, root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, "daemon.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 20))
		f.Close()
		return nil, fmt.Errorf("%s %q is in use by another daemon (pid %s); stop that one or give this one a --data-root and --exec-root of its own: %w", flag, root, pid, errdefs.ErrFailedPrecondition)
	}
	if err := f.Truncate(0); err == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	return func() { f.Close() }, nil
}

// notify tells systemd how we are, where there is one.
func notify(ctx context.Context, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.G(ctx).WithError(err).Warn("systemd")
	}
}
