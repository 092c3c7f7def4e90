package containerd

import (
	"context"
	"fmt"
	"path/filepath"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/plugins/services"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

const (
	clientPlugin  plugin.Type = "io.gantry.v1"
	clientID                  = "client"
	taskPlugin                = "io.containerd.runtime.v2.task"    // names the directory of the tasks' bundles
	contentPlugin             = "io.containerd.content.v1.content" // and that of blobs and downloads
)

// exported receives, through the context that a server is made with, what only
// a plugin of that server can get at. containerd's plugin registry is global
// to the process; this way it holds nothing that belongs to one server.
type exported struct {
	client       *ctd.Client
	snapshotters map[string]snapshots.Snapshotter
	metadata     *metadata.DB
}

type exportedKey struct{}

func init() {
	registry.Register(&plugin.Registration{
		Type: clientPlugin,
		ID:   clientID,
		Requires: []plugin.Type{
			plugins.EventPlugin, plugins.LeasePlugin, plugins.SandboxStorePlugin,
			plugins.TransferPlugin, plugins.MountManagerPlugin, plugins.ServicePlugin, plugins.MetadataPlugin,
		},
		InitFn: export,
	})
}

func export(ic *plugin.InitContext) (any, error) {
	out, ok := ic.Context.Value(exportedKey{}).(*exported)
	if !ok {
		return nil, fmt.Errorf("the server was not made by this package: %w", plugin.ErrSkipPlugin)
	}
	sn, err := ic.GetByID(plugins.ServicePlugin, services.SnapshotsService)
	if err != nil {
		return nil, err
	}
	out.snapshotters = sn.(map[string]snapshots.Snapshotter)
	db, err := ic.GetSingle(plugins.MetadataPlugin)
	if err != nil {
		return nil, err
	}
	out.metadata = db.(*metadata.DB)
	out.client, err = ctd.New("", ctd.WithInMemoryServices(ic))
	return out.client, err
}

// embed makes a server; it does not listen until it is started.
func embed(ctx context.Context, cfg Config) (*server.Server, *exported, error) {
	sc := &srvconfig.Config{
		Version: version.ConfigVersion,
		Root:    cfg.Root,
		State:   cfg.State,
		// What registers itself with the process, so that a second server could
		// not be made, and what needs plugins that are not here.
		DisabledPlugins: []string{
			string(plugins.MetricsPlugin) + ".grpc-prometheus",
			string(plugins.MetricsPlugin) + ".grpc-otel",
			string(plugins.GRPCPlugin) + ".sandbox-controllers",
		},
		RequiredPlugins: []string{string(clientPlugin) + "." + clientID},
		Plugins: map[string]any{
			"io.containerd.server.v1.grpc":  map[string]any{"address": cfg.socket()},
			"io.containerd.server.v1.ttrpc": map[string]any{"address": cfg.socket() + ".ttrpc"},
			"io.containerd.shim.v1.manager": map[string]any{
				"socket_dir": cfg.shimSockets(),
				"env":        []string{exitsEnv + "=" + cfg.ExitsDir},
			},
			// Whatever is removed is collected soon, see collector. This looks by
			// itself, at its default four times a second; so it is once in an hour.
			"io.containerd.gc.v1.scheduler": map[string]any{"pause_threshold": 0.000001},
		},
	}
	if err := server.CreateTopLevelDirectories(sc); err != nil {
		return nil, nil, fmt.Errorf("containerd's directories: %w", err)
	}
	if err := mount.SetTempMountLocation(filepath.Join(cfg.Root, "tmpmounts")); err != nil {
		return nil, nil, fmt.Errorf("containerd's temporary mounts: %w", err)
	}
	if warnings, err := mount.CleanupTempMounts(0); err != nil || len(warnings) > 0 {
		log.G(ctx).WithError(err).WithField("warnings", warnings).Warn("temporary mounts of an earlier run are still there")
	}
	out := &exported{}
	srv, err := server.New(context.WithValue(ctx, exportedKey{}, out), sc)
	if err != nil {
		return nil, nil, fmt.Errorf("containerd on root %q: %w", cfg.Root, err)
	}
	return srv, out, nil
}

// snapshotter picks the first that works here: overlayfs cannot be stacked on
// some file systems.
func (e *exported) snapshotter() (string, error) {
	for _, name := range []string{"overlayfs", "native"} {
		if e.snapshotters[name] != nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("containerd has no snapshotter that works on this root: %w", errdefs.ErrUnavailable)
}
