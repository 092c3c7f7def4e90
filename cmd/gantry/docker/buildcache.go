package docker

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"gantry/build"
	"gantry/project"

	buildkit "github.com/moby/buildkit/client"
	"github.com/tonistiigi/go-csvvalue"
)

// caches say where steps' results are taken from and put.
func caches(o *buildOptions, s *buildkit.SolveOpt) error {
	from, err := readCaches("--cache-from", o.cacheFrom, project.ReadCacheFrom)
	if err != nil {
		return err
	}
	to, err := readCaches("--cache-to", o.cacheTo, project.ReadCacheTo)
	if err != nil {
		return err
	}
	for _, c := range from {
		s.CacheImports = append(s.CacheImports, buildkit.CacheOptionsEntry(c))
	}
	for _, c := range build.WithInline(to, s.FrontendAttrs["build-arg:BUILDKIT_INLINE_CACHE"]) {
		s.CacheExports = append(s.CacheExports, buildkit.CacheOptionsEntry(c))
	}
	return nil
}

func readCaches(flag string, texts []string, read func(string) ([]project.Cache, error)) (out []build.Cache, err error) {
	for _, text := range texts {
		if text == "" {
			continue
		}
		list, err := read(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		for _, c := range list {
			out = append(out, build.Cache(c))
		}
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
