package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ctd "gantry/containerd"
	"gantry/containerd/spec"
	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
)

// creation is what a container is to be, whoever asks.
type creation struct {
	ID, Name   string
	Image      string
	Platform   string
	Config     container.Config
	HostConfig container.HostConfig
	Networks   []attachment
	Carried    map[string]string // mount target to the anonymous volume to take over
	Files      []project.File    // secrets and configs
}

// CreateContainer makes a container for the Engine API. With a platform, its
// image must be of that one.
func (e *Engine) CreateContainer(ctx context.Context, name, platform string, req container.CreateRequest) (container.CreateResponse, error) {
	if req.Config == nil {
		return container.CreateResponse{}, fmt.Errorf("create container: no configuration given: %w", errdefs.ErrInvalidArgument)
	}
	s := creation{ID: randomID(), Name: strings.TrimPrefix(name, "/"), Image: req.Config.Image, Platform: platform, Config: *req.Config}
	if req.HostConfig != nil {
		s.HostConfig = *req.HostConfig
	}
	if s.Name == "" {
		s.Name = e.freeName()
	}
	if req.NetworkingConfig != nil {
		for n, ep := range req.NetworkingConfig.EndpointsConfig {
			if ep == nil {
				ep = &network.EndpointSettings{}
			}
			s.Networks = append(s.Networks, attachment{Network: n, Settings: *ep.Copy()})
		}
		slices.SortFunc(s.Networks, func(a, b attachment) int {
			return cmp.Or(cmp.Compare(b.Settings.GwPriority, a.Settings.GwPriority), cmp.Compare(a.Network, b.Network))
		})
	}
	if err := checkConflicts(&s.Config, &s.HostConfig, s.Networks); err != nil {
		return container.CreateResponse{}, err
	}
	warnings, err := e.create(ctx, s)
	if err != nil {
		return container.CreateResponse{}, refusal(err)
	}
	if warnings == nil {
		warnings = []string{}
	}
	return container.CreateResponse{ID: s.ID, Warnings: warnings}, nil
}

// undoList collects what brings a half-done operation back, last first.
type undoList []func(context.Context) error

func (u *undoList) add(f func(context.Context) error) { *u = append(*u, f) }

func (u undoList) run(ctx context.Context) error {
	var errs []error
	for i := len(u) - 1; i >= 0; i-- {
		errs = append(errs, u[i](ctx))
	}
	return errJoin(errs...)
}

// create makes a container complete but for its process: file system, volumes,
// namespace with addresses, files, runtime spec. What it did is undone when a
// part fails; a container of that ID that is there already is success.
func (e *Engine) create(ctx context.Context, s creation) (warnings []string, err error) {
	if c, err := e.find(s.ID); err == nil && c.id == s.ID {
		return nil, nil
	}
	if err := e.reserveName(s.Name, s.ID); err != nil {
		return nil, err
	}
	var undo undoList
	undo.add(func(context.Context) error { e.releaseName(s.Name, s.ID); return nil })
	defer func() {
		if err != nil {
			cctx, cancel := e.cleanupContext()
			defer cancel()
			err = errJoin(err, undo.run(cctx))
		}
	}()

	img, err := e.imageToRun(ctx, s.Image, s.Platform)
	if err != nil {
		if errdefs.IsNotFound(err) && !errors.As(err, &missingPlatform{}) {
			err = noImage(s.Image)
		}
		return nil, err
	}
	foreign := foreignPlatform(img, s.Platform)
	rec := record{ID: s.ID, Name: s.Name, Created: time.Now().UTC(), Image: s.Image, ImageID: img.ID, Platform: s.Platform, Config: s.Config, HostConfig: s.HostConfig}
	if err := e.complete(&rec, s.Networks, img); err != nil {
		return nil, err
	}
	if warnings, err = spec.Check(rec.Config, rec.HostConfig, e.facts); err != nil {
		return nil, err
	}
	spec.Complete(&rec.HostConfig, e.facts)
	warnings = slices.Concat(foreign, logWarnings(s.HostConfig.LogConfig), warnings)
	if rec.Mounts, err = e.planMounts(&rec, s.Carried); err != nil {
		return nil, err
	}
	defer e.holdVolumes(&rec)()

	dir := filepath.Join(e.cfg.DataRoot, "containers", rec.ID)
	if err := os.Mkdir(dir, 0o710); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	undo.add(func(context.Context) error { return os.RemoveAll(dir) })
	c := newCtr(rec, state{Status: container.StateCreated}, dir)

	if err := c.giveFiles(&rec, s.Files); err != nil {
		return nil, err
	}
	oci, err := e.furnish(ctx, c, &rec, &undo)
	if err != nil {
		return nil, err
	}
	if oci.Record, err = json.Marshal(rec); err != nil {
		return nil, err
	}
	if err := c.update(func(*state) {}); err != nil {
		return nil, err
	}
	if err := e.rt.CreateContainer(ctx, oci); err != nil {
		return nil, err
	}
	// from here on it exists
	if err := os.Remove(filepath.Join(dir, "intent.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.G(ctx).WithError(err).Warn("intent of a made container")
	}
	c.rec = rec
	c.process = oci.Spec.Process
	e.mu.Lock()
	e.containers[rec.ID] = c
	e.mu.Unlock()
	e.emitContainer(c, events.ActionCreate, nil)
	return warnings, nil
}

// furnish makes what a container needs: volumes, file system, namespace with
// addresses, files; and the runtime spec that names all of it.
func (e *Engine) furnish(ctx context.Context, c *ctr, rec *record, undo *undoList) (ctd.ContainerSpec, error) {
	oci := ctd.ContainerSpec{ID: rec.ID, Image: rec.Image, Group: rec.Config.Labels[labelProject], Labels: indexLabels(rec.Config.Labels)}
	if err := e.makeVolumes(ctx, c, rec, undo); err != nil {
		return oci, err
	}
	root, err := e.rt.PrepareRoot(ctx, rec.ID, rec.ImageID) // the name may be another's by now
	if err != nil {
		return oci, err
	}
	undo.add(root.Abort)
	undo.add(func(ctx context.Context) error { return e.net.Release(ctx, rec.ID) })
	netns, err := e.prepareNetwork(ctx, c, rec)
	if err != nil {
		return oci, err
	}
	err = root.With(ctx, func(path string) error {
		if err := e.fillVolumes(ctx, rec, path); err != nil {
			return err
		}
		in, err := e.specInput(c, rec, netns)
		if err != nil {
			return err
		}
		in.Rootfs = path
		oci.Spec, err = spec.Build(in)
		return err
	})
	return oci, err
}

// complete fills in what the request leaves to the image, the daemon and
// Docker's defaults.
func (e *Engine) complete(rec *record, nets []attachment, img *ctd.Image) error {
	cfg, host := &rec.Config, &rec.HostConfig
	cfg.Labels = maps.Clone(cfg.Labels)
	if err := spec.Merge(cfg, img.Config); err != nil {
		return err
	}
	if len(cfg.Entrypoint)+len(cfg.Cmd) == 0 {
		return fmt.Errorf("no command specified, and image %q has none: %w", rec.Image, errdefs.ErrInvalidArgument)
	}
	_, composed := cfg.Labels[labelProject]
	if _, given := cfg.Labels[labelImage]; composed && !given { // Docker Compose gives its own, and compares it
		cfg.Labels[labelImage] = img.ID
	}
	if host.LogConfig.Type == "" {
		host.LogConfig.Type = e.cfg.LogDriver
		if len(host.LogConfig.Config) == 0 {
			host.LogConfig.Config = maps.Clone(e.cfg.LogOpts)
		}
	}
	e.cfg.Defaults.complete(host, e.facts.CgroupV2)
	if err := checkLogConfig(host.LogConfig.Type, host.LogConfig.Config); err != nil {
		return err
	}
	if cfg.NetworkDisabled {
		host.NetworkMode = network.NetworkNone
	}
	if err := e.resolveModes(host); err != nil {
		return err
	}
	var err error
	if rec.Networks, err = e.attachments(nets, host); err != nil {
		return err
	}
	if cfg.Hostname == "" {
		cfg.Hostname = e.hostname(rec)
	}
	if host.RestartPolicy.Name == "" {
		host.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if host.AutoRemove && !host.RestartPolicy.IsNone() {
		return fmt.Errorf("can't create 'AutoRemove' container with restart policy: %w", errdefs.ErrInvalidArgument)
	}
	return checkHealth(cfg.Healthcheck)
}

// hostname is the name of a container that was given none: who shares another's
// network goes by its name, who shares the host's by the host's.
func (e *Engine) hostname(rec *record) string {
	mode := rec.HostConfig.NetworkMode
	if owner, err := e.find(mode.ConnectedContainer()); err == nil && mode.IsContainer() {
		r := owner.record()
		rec.Config.Domainname = r.Config.Domainname
		return r.Config.Hostname
	}
	if mode.IsHost() || rec.HostConfig.UTSMode.IsHost() {
		if name, err := os.Hostname(); err == nil {
			return name
		}
	}
	return short(rec.ID)
}

// resolveModes turns names in container:X modes into IDs, so that a rename of
// X changes nothing.
func (e *Engine) resolveModes(h *container.HostConfig) error {
	for what, mode := range map[string]*string{"network": (*string)(&h.NetworkMode), "pid": (*string)(&h.PidMode), "ipc": (*string)(&h.IpcMode)} {
		name, ok := strings.CutPrefix(*mode, "container:")
		if !ok {
			continue
		}
		c, err := e.find(name)
		if err != nil {
			return fmt.Errorf("%s mode %q: %w", what, *mode, err)
		}
		*mode = "container:" + c.id
	}
	if h.NetworkMode == "" || h.NetworkMode == "default" {
		h.NetworkMode = network.NetworkBridge
	}
	return nil
}

// indexLabels are those of a container's labels by which containerd's own
// tools can find it; the whole of them is in the record.
func indexLabels(labels map[string]string) map[string]string {
	out := map[string]string{}
	for _, k := range []string{labelProject, labelService, labelNumber} {
		if v, ok := labels[k]; ok && len(k)+len(v) < 4096 {
			out[k] = v
		}
	}
	return out
}
