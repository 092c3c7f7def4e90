package daemon

import (
	"fmt"
	"strings"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
)

// Builder configures how builds work.
type Builder struct {
	GC CacheGC `json:"gc"`
}

// CacheGC says what of the build cache is removed by itself. Sizes are such as
// "20GB"; policies stand in place of the sizes by default.
type CacheGC struct {
	Enabled              *bool         `json:"enabled"` // yes by default
	DefaultKeepStorage   string        `json:"defaultKeepStorage"`
	DefaultReservedSpace string        `json:"defaultReservedSpace"`
	DefaultMaxUsedSpace  string        `json:"defaultMaxUsedSpace"`
	DefaultMinFreeSpace  string        `json:"defaultMinFreeSpace"`
	Policy               []CachePolicy `json:"policy"`
}

// CachePolicy is one rule; they apply one after the other.
type CachePolicy struct {
	All           bool     `json:"all"`
	KeepStorage   string   `json:"keepStorage"`
	ReservedSpace string   `json:"reservedSpace"`
	MaxUsedSpace  string   `json:"maxUsedSpace"`
	MinFreeSpace  string   `json:"minFreeSpace"`
	Filter        []string `json:"filter"` // KEY=VALUE, as docker builder prune has them
}

// rules are nil when nothing is configured, and empty when nothing shall go.
func (b Builder) rules() ([]engine.CacheRules, error) {
	gc := b.GC
	if gc.Enabled != nil && !*gc.Enabled {
		return []engine.CacheRules{}, nil
	}
	policies := gc.Policy
	if len(policies) == 0 {
		one := CachePolicy{All: true, KeepStorage: gc.DefaultKeepStorage, ReservedSpace: gc.DefaultReservedSpace, MaxUsedSpace: gc.DefaultMaxUsedSpace, MinFreeSpace: gc.DefaultMinFreeSpace}
		if one.KeepStorage+one.ReservedSpace+one.MaxUsedSpace+one.MinFreeSpace == "" {
			return nil, nil
		}
		policies = []CachePolicy{one}
	}
	var out []engine.CacheRules
	for i, p := range policies {
		r, err := p.rules()
		if err != nil {
			return nil, fmt.Errorf("builder.gc: rule %d: %w: %w", i+1, err, errdefs.ErrInvalidArgument)
		}
		out = append(out, r)
	}
	return out, nil
}

func (p CachePolicy) rules() (engine.CacheRules, error) {
	f := engine.Filters{}
	for _, text := range p.Filter {
		k, v, ok := strings.Cut(text, "=")
		if !ok {
			return engine.CacheRules{}, fmt.Errorf("filter %q is not KEY=VALUE", text)
		}
		k, v = strings.TrimSpace(k), strings.TrimPrefix(v, "=")
		f[k] = append(f[k], v)
	}
	r, err := engine.ReadCacheFilters(f)
	if err != nil {
		return r, err
	}
	r.All = p.All
	for _, size := range []struct {
		key, text string
		to        *int64
	}{
		{"keepStorage", p.KeepStorage, &r.MaxUsedSpace}, {"reservedSpace", p.ReservedSpace, &r.ReservedSpace},
		{"maxUsedSpace", p.MaxUsedSpace, &r.MaxUsedSpace}, {"minFreeSpace", p.MinFreeSpace, &r.MinFreeSpace},
	} {
		if size.text == "" {
			continue
		}
		if *size.to, err = units.RAMInBytes(size.text); err != nil {
			return r, fmt.Errorf("%s %q: %w", size.key, size.text, err)
		}
	}
	return r, nil
}
