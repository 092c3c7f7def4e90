package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/build"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
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
	only := b.Platforms
	if a.ToRun {
		only = b.ToRun(a.Platform, platforms.DefaultSpec())
	}
	set("platform", strings.Join(only, ","))
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
	attest(b, attrs)
	if b.Network == "host" && !slices.Contains(r.Entitlements, "network.host") {
		r.Entitlements = append(r.Entitlements, "network.host")
	}
	if b.Privileged && !slices.Contains(r.Entitlements, "security.insecure") {
		r.Entitlements = append(r.Entitlements, "security.insecure")
	}
	var err error
	if r.CacheFrom, err = caches("cache_from", b.CacheFrom, project.ReadCacheFrom); err != nil {
		return r, err
	}
	if r.CacheTo, err = caches("cache_to", b.CacheTo, project.ReadCacheTo); err != nil {
		return r, err
	}
	r.CacheTo = build.WithInline(r.CacheTo, b.Args["BUILDKIT_INLINE_CACHE"])
	return r, nil
}

// attest asks for what is said of the image beside it. Source: buildx, which
// means the least by true.
func attest(b *project.Build, attrs map[string]string) {
	for kind, a := range map[string]struct{ value, yes string }{"provenance": {b.Provenance, "mode=min"}, "sbom": {b.SBOM, ""}} {
		if on, err := strconv.ParseBool(a.value); err == nil && on {
			attrs["attest:"+kind] = a.yes
		} else if err != nil && a.value != "" {
			attrs["attest:"+kind] = a.value
		}
	}
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

// caches reads those of a build.
func caches(key string, list []string, read func(string) ([]project.Cache, error)) ([]build.Cache, error) {
	var out []build.Cache
	for _, text := range list {
		read, err := read(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		for _, c := range read {
			out = append(out, build.Cache(c))
		}
	}
	return out, nil
}
