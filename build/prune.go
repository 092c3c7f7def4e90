package build

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/client"
)

// CacheRules say what of the cache goes, of what nobody uses. Sizes are bytes.
type CacheRules struct {
	All     bool          // also what images hold, and the builder's own
	Unused  time.Duration // only what was not used for so long
	Filters []string      // only what one of them matches; BuildKit's syntax
	// ReservedSpace stays in any case, what is above MaxUsedSpace goes, and as
	// much as makes MinFreeSpace free on the disk.
	ReservedSpace, MaxUsedSpace, MinFreeSpace int64
}

func (r CacheRules) info() client.PruneInfo {
	return client.PruneInfo{
		All: r.All, KeepDuration: r.Unused, Filter: r.Filters,
		ReservedSpace: r.ReservedSpace, MaxUsedSpace: r.MaxUsedSpace, MinFreeSpace: r.MinFreeSpace,
	}
}

// SetPruneOption is for BuildKit's client.
func (r CacheRules) SetPruneOption(p *client.PruneInfo) { *p = r.info() }

// CacheRecord is one thing that the cache holds.
type CacheRecord = client.UsageInfo

// Prune removes what the rules say, and returns what that was.
func (b *Builder) Prune(ctx context.Context, r CacheRules) ([]*CacheRecord, error) {
	records, done := make(chan client.UsageInfo), make(chan struct{})
	var out []*CacheRecord
	go func() {
		defer close(done)
		for u := range records {
			out = append(out, &u)
		}
	}()
	err := b.client.Prune(ctx, records, r)
	close(records)
	<-done
	return out, err
}

// Usage tells what the cache holds.
func (b *Builder) Usage(ctx context.Context) ([]*CacheRecord, error) {
	return b.client.DiskUsage(ctx)
}

// FilterRules are the rules of Docker's filters of the build cache, which are keys and values:
// until, unused-for (durations), and fields of its records (id, parent, type,
// description, inuse, shared, private). Source: moby, POST /build/prune.
func FilterRules(f map[string][]string) (CacheRules, error) {
	var r CacheRules
	var terms []string
	for key, values := range f {
		switch key {
		case "until", "unused-for":
			if len(values) != 1 || r.Unused != 0 {
				return r, fmt.Errorf("filters until and unused-for: give one value: %w", errdefs.ErrInvalidArgument)
			}
			d, err := time.ParseDuration(values[0])
			if err != nil {
				return r, fmt.Errorf("invalid filter '%s=%s': want a duration such as 24h: %w", key, values[0], errdefs.ErrInvalidArgument)
			}
			r.Unused = d
		case "id", "parent", "type", "description", "inuse", "shared", "private":
			for _, v := range values {
				terms = append(terms, term(key, v))
			}
		default:
			return r, fmt.Errorf("invalid filter '%s': %w", key, errdefs.ErrInvalidArgument)
		}
	}
	if len(terms) > 0 {
		r.Filters = []string{strings.Join(terms, ",")}
	}
	return r, nil
}

// term is one condition in BuildKit's syntax. IDs are told by their beginnings.
func term(key, value string) string {
	switch key {
	case "inuse", "shared", "private": // the negation of one of the latter is the other
		if yes := value == "" || value == "true" || value == "1"; yes || key == "inuse" {
			return key
		}
		return map[string]string{"shared": "private", "private": "shared"}[key]
	case "id":
		return fmt.Sprintf("id~=%q", "^"+regexp.QuoteMeta(value))
	case "parent":
		return fmt.Sprintf("parents~=%q", "(^|;)"+regexp.QuoteMeta(value))
	}
	return fmt.Sprintf("%s==%q", key, value)
}
