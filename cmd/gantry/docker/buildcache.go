package docker

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	buildkit "github.com/moby/buildkit/client"
	"github.com/tonistiigi/go-csvvalue"
)

// caches say where steps' results are taken from and put. Source: buildx,
// --cache-from and --cache-to.
func caches(o *buildOptions, s *buildkit.SolveOpt) (err error) {
	if s.CacheImports, err = parseCaches("--cache-from", o.cacheFrom); err != nil {
		return err
	}
	for _, c := range s.CacheImports {
		if c.Type == "inline" {
			return errors.New("--cache-from type=inline: use type=registry with the image that has the cache in it")
		}
	}
	if s.CacheExports, err = parseCaches("--cache-to", o.cacheTo); err != nil {
		return err
	}
	for _, c := range s.CacheExports {
		if mode := c.Attrs["mode"]; mode != "" && mode != "min" && mode != "max" {
			return fmt.Errorf("--cache-to mode=%s: use min or max", mode)
		}
	}
	if inline, err := strconv.ParseBool(s.FrontendAttrs["build-arg:BUILDKIT_INLINE_CACHE"]); err == nil && inline &&
		!slices.ContainsFunc(s.CacheExports, func(c buildkit.CacheOptionsEntry) bool { return c.Type == "inline" }) {
		s.CacheExports = append(s.CacheExports, buildkit.CacheOptionsEntry{Type: "inline", Attrs: map[string]string{}})
	}
	return nil
}

// parseCaches reads KEY=VALUE,…, or references of images.
func parseCaches(flag string, list []string) (out []buildkit.CacheOptionsEntry, err error) {
	for _, text := range list {
		if text == "" {
			continue
		}
		fields, err := csvvalue.Fields(text, nil)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", flag, text, err)
		}
		if !strings.Contains(text, "=") {
			for _, ref := range fields {
				out = append(out, buildkit.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": ref}})
			}
			continue
		}
		c := buildkit.CacheOptionsEntry{}
		if c.Attrs, err = attributes(fields); err != nil {
			return nil, fmt.Errorf("%s %q: %w", flag, text, err)
		}
		c.Type = c.Attrs["type"]
		delete(c.Attrs, "type")
		needed := map[string]string{"registry": "ref", "local": map[string]string{"--cache-from": "src", "--cache-to": "dest"}[flag], "inline": ""}
		key, known := needed[c.Type]
		switch {
		case c.Type == "":
			return nil, fmt.Errorf("%s %q: type required", flag, text)
		case !known:
			return nil, fmt.Errorf("%s %q: cache type %q is not supported: use registry, local or inline", flag, text, c.Type)
		case key != "" && c.Attrs[key] == "":
			return nil, fmt.Errorf("%s %q: %s is required for type=%s", flag, text, key, c.Type)
		}
		out = append(out, c)
	}
	return out, nil
}

// attestations are what is said of the image beside it. Source: buildx,
// --attest.
func attestations(o *buildOptions, s *buildkit.SolveOpt) error {
	list := slices.Clone(o.attest)
	for _, short := range []struct{ kind, value string }{{"provenance", o.provenance}, {"sbom", o.sbom}} {
		if on, err := strconv.ParseBool(short.value); err == nil {
			list = append(list, fmt.Sprintf("type=%s,disabled=%t", short.kind, !on))
		} else if short.value != "" {
			list = append(list, "type="+short.kind+","+short.value)
		}
	}
	for _, text := range list {
		fields, err := csvvalue.Fields(text, nil)
		if err != nil {
			return fmt.Errorf("--attest %q: %w", text, err)
		}
		attrs, err := attributes(fields)
		if err != nil {
			return fmt.Errorf("--attest %q: %w", text, err)
		}
		kind, disabled := attrs["type"], attrs["disabled"]
		if kind != "provenance" && kind != "sbom" {
			return fmt.Errorf("--attest %q: unknown attestation type %q: use provenance or sbom", text, kind)
		}
		if off, err := strconv.ParseBool(disabled); disabled != "" && err != nil {
			return fmt.Errorf("--attest %q: disabled=%s is no boolean", text, disabled)
		} else if off {
			delete(s.FrontendAttrs, "attest:"+kind)
			continue
		}
		s.FrontendAttrs["attest:"+kind] = text
	}
	return nil
}

// reproducible passes the time on that everything built shall have.
func reproducible(_ *buildOptions, s *buildkit.SolveOpt) error {
	const arg = "SOURCE_DATE_EPOCH"
	if _, given := s.FrontendAttrs["build-arg:"+arg]; !given {
		set(s.FrontendAttrs, "build-arg:"+arg, os.Getenv(arg))
	}
	return nil
}
