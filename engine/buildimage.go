package engine

import (
	"context"
	"encoding/csv"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"gantry/build"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
)

// buildImage builds a service's image. report tells of its steps.
func (e *Engine) buildImage(ctx context.Context, a scheduler.BuildImage, report func(scheduler.Progress)) error {
	if a.Session == "" {
		return fmt.Errorf("image %q: nobody provides what it is built from; use gantry build: %w", a.Ref, errdefs.ErrFailedPrecondition)
	}
	r, err := buildRequest(a)
	if err != nil {
		return fmt.Errorf("image %q: %w", a.Ref, err)
	}
	b, err := e.builder()
	if err != nil {
		return err
	}
	return b.Solve(ctx, r, func(step string) { report(scheduler.Progress{Text: step}) })
}

// buildRequest puts a build into the Dockerfile frontend's terms. Source:
// buildkit, frontend/dockerui.
func buildRequest(a scheduler.BuildImage) (build.Request, error) {
	b := &a.Build
	attrs := map[string]string{"image-resolve-mode": "local", "target": b.Target}
	if b.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	buildFiles(b, attrs)
	if b.Pull && len(a.Own) > 0 {
		return build.Request{}, fmt.Errorf("context %q is another service's image, which no registry has, but the build pulls its images: pull first, then build without pull: %w", a.Own[0], errdefs.ErrNotImplemented)
	}
	for name, from := range b.Contexts {
		attrs["context:"+name] = from
		if dir := project.Directory(from); dir != "" {
			attrs["context:"+name] = "local:" + project.LocalName(dir, "")
		}
	}
	for k, v := range b.Args {
		attrs["build-arg:"+k] = v
	}
	for k, v := range b.Labels {
		attrs["label:"+k] = v
	}
	r := build.Request{ID: a.ID, Session: a.Session, Names: slices.Concat([]string{a.Ref}, b.Tags), Attrs: attrs, Entitlements: slices.Clone(b.Entitlements)}
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	set("platform", strings.Join(b.Platforms, ","))
	set("force-network-mode", b.Network)
	set("add-hosts", strings.Join(b.ExtraHosts, ","))
	set("ulimit", strings.Join(b.Ulimits, ","))
	set("no-cache", strings.Join(b.NoCacheFilter, ","))
	if b.NoCache {
		attrs["no-cache"] = ""
	}
	if b.ShmSize > 0 {
		attrs["shm-size"] = fmt.Sprint(b.ShmSize)
	}
	switch b.Provenance {
	case "", "false":
	case "true":
		attrs["attest:provenance"] = "mode=min"
	default:
		attrs["attest:provenance"] = b.Provenance
	}
	if b.Network == "host" && !slices.Contains(r.Entitlements, "network.host") {
		r.Entitlements = append(r.Entitlements, "network.host")
	}
	if b.Privileged && !slices.Contains(r.Entitlements, "security.insecure") {
		r.Entitlements = append(r.Entitlements, "security.insecure")
	}
	var err error
	if r.CacheFrom, err = cacheEntries("cache_from", b.CacheFrom); err != nil {
		return r, err
	}
	if r.CacheTo, err = cacheEntries("cache_to", b.CacheTo); err != nil {
		return r, err
	}
	return r, nil
}

// buildFiles says where context and Dockerfile come from.
func buildFiles(b *project.Build, attrs map[string]string) {
	attrs["filename"] = "Dockerfile"
	switch dir := b.DockerfileDir(); {
	case b.DockerfileInline != "":
		attrs["dockerfilekey"] = project.LocalName("", b.DockerfileInline)
	case dir != "":
		attrs["dockerfilekey"], attrs["filename"] = project.LocalName(dir, ""), filepath.Base(b.Dockerfile)
	default:
		attrs["filename"] = b.Dockerfile
	}
	if project.Directory(b.Context) == "" {
		attrs[project.LocalContext] = b.Context
	}
}

// cacheEntries reads caches as docker build takes them: KEY=VALUE,… or a
// reference.
func cacheEntries(key string, list []string) ([]build.Cache, error) {
	var out []build.Cache
	for _, text := range list {
		if !strings.Contains(text, "=") {
			out = append(out, build.Cache{Type: "registry", Attrs: map[string]string{"ref": text}})
			continue
		}
		fields, err := csv.NewReader(strings.NewReader(text)).Read()
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w: %w", key, text, err, errdefs.ErrInvalidArgument)
		}
		attrs := map[string]string{}
		for _, f := range fields {
			k, v, ok := strings.Cut(f, "=")
			if !ok {
				return nil, fmt.Errorf("%s %q: %q is not KEY=VALUE: %w", key, text, f, errdefs.ErrInvalidArgument)
			}
			attrs[strings.ToLower(k)] = v
		}
		entry := build.Cache{Type: attrs["type"], Attrs: maps.Clone(attrs)}
		delete(entry.Attrs, "type")
		out = append(out, entry)
	}
	return out, nil
}
