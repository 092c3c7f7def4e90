package project

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Cache is where the results of a build's steps are taken from, or put.
type Cache struct {
	Type  string // registry, local, inline
	Attrs map[string]string
}

// Dir is the directory of a local one, "" of others.
func (c Cache) Dir() string {
	if c.Type != "local" {
		return ""
	}
	return c.Attrs["src"] + c.Attrs["dest"] // it has one of them
}

// ReadCacheFrom reads what docker build takes as --cache-from, KEY=VALUE,… or
// REFERENCE,…
func ReadCacheFrom(text string) ([]Cache, error) {
	return readCache(text, map[string]string{"registry": "ref", "local": "src"})
}

// ReadCacheTo is ReadCacheFrom for --cache-to.
func ReadCacheTo(text string) ([]Cache, error) {
	list, err := readCache(text, map[string]string{"registry": "ref", "local": "dest", "inline": ""})
	for _, c := range list {
		if mode := c.Attrs["mode"]; mode != "" && mode != "min" && mode != "max" {
			return nil, wrong("cache %q: mode %q is neither min nor max", text, mode)
		}
	}
	return list, err
}

// readCache reads caches of types that need an attribute each, "" for none.
func readCache(text string, needs map[string]string) ([]Cache, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return nil, wrong("cache %q: %v", text, err)
	}
	var out []Cache
	if !strings.Contains(text, "=") {
		for _, ref := range fields {
			out = append(out, Cache{Type: "registry", Attrs: map[string]string{"ref": ref}})
		}
		return out, nil
	}
	c := Cache{Attrs: map[string]string{}}
	for _, f := range fields {
		k, v, ok := strings.Cut(f, "=")
		switch k = strings.ToLower(k); {
		case !ok:
			return nil, wrong("cache %q: %q is not KEY=VALUE", text, f)
		case k == "type":
			c.Type = v
		default:
			c.Attrs[k] = v
		}
	}
	need, known := needs[c.Type]
	switch {
	case c.Type == "":
		return nil, wrong("cache %q: type required", text)
	case c.Type == "inline" && !known:
		return nil, wrong("cache %q: name the image that has the cache in it, as type=registry", text)
	case !known:
		return nil, wrong("cache type %q is not supported: use registry, local or inline", c.Type)
	case need != "" && c.Attrs[need] == "":
		return nil, wrong("cache %q: %s is required for type=%s", text, need, c.Type)
	}
	return []Cache{c}, nil
}

func wrong(format string, args ...any) error {
	return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf(format, args...))
}

// String is the form that ReadCacheFrom and ReadCacheTo take.
func (c Cache) String() string {
	fields := []string{"type=" + c.Type}
	for _, k := range slices.Sorted(maps.Keys(c.Attrs)) {
		fields = append(fields, k+"="+c.Attrs[k])
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Write(fields) // to memory
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// within makes the directory of a local one absolute.
func (c Cache) within(dir string) {
	for _, k := range []string{"src", "dest"} {
		if v := c.Attrs[k]; v != "" && c.Type == "local" {
			c.Attrs[k] = absolute(dir, v)
		}
	}
}
