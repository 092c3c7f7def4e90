package engine

import (
	"context"
	"fmt"
	"maps"
	"strings"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/google/shlex"
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
	cfg := imageConfig(rec.Config)
	if opts.Config != nil {
		overlayConfig(&cfg, opts.Config)
	}
	for _, change := range opts.Changes {
		if err := applyChange(&cfg, change); err != nil {
			return "", err
		}
	}
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
	path, args := commandOf(&rec.Config)
	id, err = e.rt.Commit(ctx, ctd.CommitOptions{
		ContainerID: c.id, Image: rec.ImageID, Reference: opts.Reference, Author: opts.Author, Comment: opts.Comment,
		CreatedBy: strings.Join(append([]string{path}, args...), " "), Config: &cfg,
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
	out.Env, out.Cmd, out.Entrypoint = c.Env, c.Cmd, c.Entrypoint
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

// overlayConfig lays what a request sets over an image's configuration.
func overlayConfig(to *dockerspec.DockerOCIImageConfig, from *container.Config) {
	over := imageConfig(*from)
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

// applyChange carries out one Dockerfile instruction on a configuration.
// Source: docker commit --change.
func applyChange(c *dockerspec.DockerOCIImageConfig, line string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	bad := func(why string) error {
		return fmt.Errorf("change %q: %s: %w", line, why, errdefs.ErrInvalidArgument)
	}
	if rest == "" {
		return bad("it has no value")
	}
	command := func() []string {
		var list []string
		if strings.HasPrefix(rest, "[") && unmarshalStrings(rest, &list) == nil {
			return list
		}
		return []string{"/bin/sh", "-c", rest}
	}
	pairs := func(add func(k, v string)) error {
		words, err := shlex.Split(rest)
		if err != nil {
			return bad(err.Error())
		}
		if len(words) > 1 && !strings.Contains(words[0], "=") {
			add(words[0], strings.Join(words[1:], " "))
			return nil
		}
		for _, w := range words {
			k, v, ok := strings.Cut(w, "=")
			if !ok {
				return bad("want KEY=VALUE")
			}
			add(k, v)
		}
		return nil
	}
	switch strings.ToUpper(word) {
	case "CMD":
		c.Cmd = command()
	case "ENTRYPOINT":
		c.Entrypoint = command()
	case "ENV":
		return pairs(func(k, v string) { setEnv(c, k+"="+v) })
	case "LABEL":
		return pairs(func(k, v string) {
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[k] = v
		})
	case "EXPOSE", "VOLUME":
		to := &c.ExposedPorts
		words := strings.Fields(rest)
		if strings.ToUpper(word) == "VOLUME" {
			to = &c.Volumes
			var list []string
			if strings.HasPrefix(rest, "[") && unmarshalStrings(rest, &list) == nil {
				words = list
			}
		}
		if *to == nil {
			*to = map[string]struct{}{}
		}
		for _, w := range words {
			if to == &c.ExposedPorts && !strings.Contains(w, "/") {
				w += "/tcp"
			}
			(*to)[w] = struct{}{}
		}
	case "USER":
		c.User = rest
	case "WORKDIR":
		c.WorkingDir = rest
	case "STOPSIGNAL":
		c.StopSignal = rest
	case "ONBUILD":
		c.OnBuild = append(c.OnBuild, rest)
	default:
		return bad("supported are CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR")
	}
	return nil
}
