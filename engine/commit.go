package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// CommitContainer makes an image of a container's file system and
// configuration, and returns its ID.
func (e *Engine) CommitContainer(ctx context.Context, ref string, opts CommitOptions) (id string, err error) {
	c, err := e.find(ref)
	if err != nil {
		return "", err
	}
	rec := c.record()
	var over dockerspec.DockerOCIImageConfig
	if opts.Config != nil {
		over = imageConfig(*opts.Config)
	}
	for _, lines := range opts.Changes {
		for line := range strings.Lines(lines) {
			if err := applyChange(&over, line); err != nil {
				return "", err
			}
		}
	}
	cfg := imageConfig(rec.Config)
	overlayConfig(&cfg, over)
	if opts.Pause && c.state().Status == container.StateRunning {
		if err := e.PauseContainer(ctx, c.id); err != nil {
			return "", err
		}
		defer func() {
			cctx, cancel := e.cleanupContext()
			defer cancel()
			if uerr := e.UnpauseContainer(cctx, c.id); uerr != nil && !errdefs.IsFailedPrecondition(uerr) {
				err = errJoin(err, uerr)
			}
		}()
	}
	id, err = e.rt.Commit(ctx, ctd.CommitOptions{
		ContainerID: c.id, Image: rec.ImageID, Reference: opts.Reference, Author: opts.Author, Comment: opts.Comment,
		CreatedBy: strings.Join(rec.Config.Cmd, " "), Config: &cfg,
	})
	if err != nil {
		return "", err
	}
	e.emitContainer(c, events.ActionCommit, map[string]string{"imageID": id, "imageRef": opts.Reference, "comment": opts.Comment})
	return id, nil
}

// imageConfig is the part of a container's configuration that an image has.
func imageConfig(c container.Config) dockerspec.DockerOCIImageConfig {
	out := dockerspec.DockerOCIImageConfig{}
	out.User, out.WorkingDir, out.StopSignal = c.User, c.WorkingDir, c.StopSignal
	out.Env, out.Cmd, out.Entrypoint = slices.Clone(c.Env), c.Cmd, c.Entrypoint // setEnv writes into it
	out.Volumes = maps.Clone(c.Volumes)
	out.Healthcheck, out.OnBuild, out.Shell = c.Healthcheck, c.OnBuild, c.Shell
	for p := range c.ExposedPorts {
		if out.ExposedPorts == nil {
			out.ExposedPorts = map[string]struct{}{}
		}
		out.ExposedPorts[p.String()] = struct{}{}
	}
	for k, v := range c.Labels {
		// what ties a container to its project must not tie the image's others
		if strings.HasPrefix(k, "com.docker.compose.") {
			continue
		}
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[k] = v
	}
	return out
}

// overlayConfig lays what a request sets over a container's configuration. As
// in Docker, a new entrypoint takes the command away that was for the old one.
func overlayConfig(to *dockerspec.DockerOCIImageConfig, over dockerspec.DockerOCIImageConfig) {
	if len(over.Entrypoint) > 0 {
		to.Cmd = nil
	}
	set := func(to *string, v string) {
		if v != "" {
			*to = v
		}
	}
	set(&to.User, over.User)
	set(&to.WorkingDir, over.WorkingDir)
	set(&to.StopSignal, over.StopSignal)
	for _, p := range []struct{ to, from *[]string }{{&to.Cmd, &over.Cmd}, {&to.Entrypoint, &over.Entrypoint}, {&to.Shell, &over.Shell}, {&to.OnBuild, &over.OnBuild}} {
		if len(*p.from) > 0 {
			*p.to = *p.from
		}
	}
	for _, v := range over.Env {
		setEnv(to, v)
	}
	for _, p := range []struct {
		to   *map[string]struct{}
		from map[string]struct{}
	}{{&to.Volumes, over.Volumes}, {&to.ExposedPorts, over.ExposedPorts}} {
		for k := range p.from {
			if *p.to == nil {
				*p.to = map[string]struct{}{}
			}
			(*p.to)[k] = struct{}{}
		}
	}
	for k, v := range over.Labels {
		if to.Labels == nil {
			to.Labels = map[string]string{}
		}
		to.Labels[k] = v
	}
	if over.Healthcheck != nil {
		to.Healthcheck = over.Healthcheck
	}
}

func setEnv(c *dockerspec.DockerOCIImageConfig, v string) {
	name, _, _ := strings.Cut(v, "=")
	for i, old := range c.Env {
		if strings.HasPrefix(old, name+"=") {
			c.Env[i] = v
			return
		}
	}
	c.Env = append(c.Env, v)
}
