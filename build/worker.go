package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/platforms"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	snapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/winlayers"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/label"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// worker builds on one containerd. Beside BuildKit's exporters it has the one
// that buildx asks a Docker engine for.
type worker struct {
	*base.Worker
	unpack   func(ctx context.Context, digest string, built map[string]string) error
	made     func(digest string, names []string) string
	dangling string
	compress Compressor
	room     func() (done func())
}

// exporterMoby is what clients of a Docker engine name its image store.
// Source: buildx, driver docker.
const exporterMoby = "moby"

func (w worker) Exporter(name string, sm *session.Manager) (exporter.Exporter, error) {
	switch name {
	case client.ExporterImage, client.ExporterOCI, client.ExporterDocker:
		e, err := w.Worker.Exporter(name, sm)
		return compressing{e, w.compress}, err
	case exporterMoby:
		e, err := w.Worker.Exporter(client.ExporterImage, sm)
		return imageStore{compressing{e, w.compress}, w.unpack, w.made, w.dangling}, err
	}
	return w.Worker.Exporter(name, sm)
}

// newWorker is BuildKit's containerd worker, but for what a step runs in: runc
// itself rather than a containerd task, which takes half as long.
func newWorker(ctx context.Context, cfg Config, c *ctd.Client, net Network) (*worker, error) {
	root := filepath.Join(cfg.Root, "worker")
	for _, dir := range []string{root, cfg.State} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	id, err := base.ID(root)
	if err != nil {
		return nil, err
	}
	if cfg.Collect == nil {
		disk, err := diskSize(root)
		if err != nil {
			return nil, err
		}
		cfg.Collect = defaultRules(disk)
	}
	md, err := metadata.NewStore(filepath.Join(root, "metadata.db"))
	if err != nil {
		return nil, fmt.Errorf("cache metadata: %w", err)
	}
	if cfg.Step == nil {
		cfg.Step = func() func() { return func() {} }
	}
	providers := map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: bridged{net}, pb.NetMode_HOST: network.NewHostProvider(), pb.NetMode_NONE: network.NewNoneProvider(),
	}
	for mode, p := range providers {
		providers[mode] = limited{p, cfg.Limits.Pids, cfg.Step}
	}
	monitor, err := resources.NewMonitor()
	if err != nil {
		return nil, fmt.Errorf("resource monitor: %w", err)
	}
	executor, err := runcexecutor.New(runcexecutor.Opt{
		Root: cfg.State, CommandCandidates: []string{cfg.RuncPath}, DefaultCgroupParent: cfg.CgroupParent,
		ResourceMonitor: monitor, OOMScoreAdj: cfg.Limits.OOMScoreAdj, ApparmorProfile: cfg.Limits.AppArmor,
	}, providers)
	if err != nil {
		return nil, err
	}
	lm := leaseutil.WithNamespace(layerLeases{c.LeasesService()}, cfg.Namespace)
	content := snapshot.NewContentStore(c.ContentStore(), cfg.Namespace)
	service := differ{c.DiffService(), c.DiffService(), cfg.Namespace}
	labels := map[string]string{
		label.Executor: "oci", label.Snapshotter: cfg.Snapshotter, label.ContainerdNamespace: cfg.Namespace, label.Network: "bridge",
	}
	if len(cfg.HostGateway) > 0 {
		labels[labelHostGateway] = cfg.HostGateway[0].String()
	}
	w, err := base.NewWorker(ctx, base.WorkerOpt{
		ID: id, Root: root, Labels: labels,
		Platforms:        []ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())},
		GCPolicy:         policy(cfg.Collect),
		BuildkitVersion:  client.BuildkitVersion{Package: "gantry", Version: cfg.Version},
		NetworkProviders: providers,
		Executor:         executor,
		Snapshotter:      snapshot.NewSnapshotter(cfg.Snapshotter, layerSnapshots{c.SnapshotService(cfg.Snapshotter)}, cfg.Namespace, nil),
		ContentStore:     content,
		Applier:          winlayers.NewFileSystemApplierWithWindows(content, service),
		Differ:           winlayers.NewWalkingDiffWithWindows(content, service),
		ImageStore:       cfg.Images,
		RegistryHosts:    cfg.Hosts,
		LeaseManager:     lm,
		GarbageCollect:   func(ctx context.Context) (gc.Stats, error) { return nil, cfg.Garbage(ctx) },
		MetadataStore:    md,
		MountPoolRoot:    filepath.Join(cfg.Root, mountPool),
		ResourceMonitor:  monitor,
	})
	if err != nil {
		md.Close()
		return nil, err
	}
	if err := countAlone(w.CacheMgr, md); err != nil {
		return nil, multierror.Append(err, w.Close())
	}
	if cfg.Room == nil {
		cfg.Room = func() func() { return func() {} }
	}
	return &worker{w, cfg.Unpack, cfg.Made, cfg.Dangling, cfg.Compress, cfg.Room}, nil
}
