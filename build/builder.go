package build

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/buildkit/cache/remotecache"
	"github.com/moby/buildkit/cache/remotecache/inline"
	"github.com/moby/buildkit/cache/remotecache/local"
	"github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	bkworker "github.com/moby/buildkit/worker"
	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

// Builder is an embedded BuildKit. Its methods may be called concurrently.
type Builder struct {
	namespace string
	control   *control.Controller
	sessions  *session.Manager
	server    *grpc.Server
	clients   *handedOver
	client    *client.Client
	contexts  *contexts
}

// Open starts BuildKit on a containerd. What an earlier one left running is
// ended first.
func Open(ctx context.Context, cfg Config, c *ctd.Client, steps Network) (_ *Builder, err error) {
	if err := cfg.check(c); err != nil {
		return nil, err
	}
	tellVersion()
	ctx = log.WithLogger(namespaces.WithNamespace(context.WithoutCancel(ctx), cfg.Namespace), quietLog())
	if err := Sweep(ctx, cfg.Root, cfg.State, cfg.RuncPath); err != nil {
		return nil, fmt.Errorf("build: what an earlier builder left: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("build: %w", err)
		}
	}()
	if err := os.MkdirAll(cfg.Root, 0o711); err != nil {
		return nil, err
	}
	w, err := newWorker(ctx, cfg, c, steps)
	if err != nil {
		return nil, err
	}
	sent := newContexts()
	if err := sent.serveTo(w.Worker); err != nil {
		return nil, err
	}
	workers := &bkworker.Controller{}
	if err := workers.Add(w); err != nil {
		return nil, err
	}
	sessions, err := session.NewManager()
	if err != nil {
		return nil, err
	}
	cache, err := bboltcachestorage.NewStore(filepath.Join(cfg.Root, "cache.db"))
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	history, err := bbolt.Open(filepath.Join(cfg.Root, "history.db"), 0o600, nil)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	gatewayFrontend, err := gateway.NewGatewayFrontend(workers.Infos(), nil)
	if err != nil {
		return nil, err
	}
	hosts := docker.RegistryHosts(cfg.Hosts)
	controller, err := control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), builtIn(cfg.HostGateway)),
			"gateway.v0":    gatewayFrontend,
		},
		CacheManager: solver.NewCacheManager(ctx, "local", cache, bkworker.NewCacheResultStorage(workers)),
		CacheStore:   cache,
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"inline": inline.ResolveCacheExporterFunc(), "local": local.ResolveCacheExporterFunc(sessions), "registry": registry.ResolveCacheExporterFunc(sessions, hosts),
		},
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"local": local.ResolveCacheImporterFunc(sessions), "registry": registry.ResolveCacheImporterFunc(sessions, w.ContentStore(), hosts),
		},
		Entitlements:   []string{"network.host", "security.insecure"},
		HistoryDB:      history,
		LeaseManager:   w.LeaseManager(),
		ContentStore:   w.ContentStore(),
		GarbageCollect: w.GarbageCollect,
	})
	if err != nil {
		return nil, err
	}
	b := &Builder{namespace: cfg.Namespace, control: controller, sessions: sessions, server: newServer(cfg.Namespace), clients: newHandedOver(), contexts: sent}
	controller.Register(b.server)
	inside := bufconn.Listen(1 << 20)
	go b.server.Serve(inside)
	go b.server.Serve(b.clients)
	b.client, err = client.New(ctx, "passthrough:gantry", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return inside.DialContext(ctx)
	}))
	if err != nil {
		return nil, multierror.Append(err, b.Close())
	}
	return b, nil
}

// Close ends all builds. The cache stays.
func (b *Builder) Close() error {
	b.server.Stop()
	var errs *multierror.Error
	if b.client != nil {
		errs = multierror.Append(errs, b.client.Close())
	}
	return multierror.Append(errs, b.control.Close()).ErrorOrNil()
}

// ServeConn answers BuildKit's gRPC services on a connection that was upgraded
// to HTTP/2, until it is closed.
func (b *Builder) ServeConn(ctx context.Context, conn net.Conn) error {
	return b.clients.hand(ctx, conn)
}

// ServeSession keeps a client's session on a connection that was upgraded to
// HTTP/2, until it is closed: builds ask it for files and secrets. header is
// the request's.
func (b *Builder) ServeSession(ctx context.Context, conn net.Conn, header map[string][]string) error {
	ctx, gone := context.WithCancel(ctx)
	defer gone()
	return b.sessions.HandleConn(ctx, sessionConn{conn, gone}, header)
}

// Client speaks to the builder in this process.
func (b *Builder) Client() *client.Client { return b.client }
