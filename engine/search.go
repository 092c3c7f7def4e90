package engine

import (
	"context"
	"fmt"
	"strconv"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/registry"
)

const (
	searchedByDefault = 25
	searchedAtMost    = 100
)

// SearchImages asks a registry for repositories; limit 0 is 25. Filters are
// is-official, stars (at least so many) and the deprecated is-automated.
func (e *Engine) SearchImages(ctx context.Context, term string, limit int, f Filters, auth Auth) ([]registry.SearchResult, error) {
	if term == "" {
		return nil, fmt.Errorf("parameter \"term\": say what to search for: %w", errdefs.ErrInvalidArgument)
	}
	if limit < 0 || limit > searchedAtMost {
		return nil, fmt.Errorf("limit %d is outside the range of [1, %d]: %w", limit, searchedAtMost, errdefs.ErrInvalidArgument)
	}
	if limit == 0 {
		limit = searchedByDefault
	}
	keep, err := f.search()
	if err != nil {
		return nil, err
	}
	found, err := e.rt.Search(ctx, term, limit, ctd.Auth(auth))
	if err != nil {
		return nil, err
	}
	out := []registry.SearchResult{}
	for _, r := range found {
		if keep(r) {
			out = append(out, registry.SearchResult{Name: r.Name, Description: r.Description, StarCount: r.Stars, IsOfficial: r.Official})
		}
	}
	return out, nil
}

// search reads the filters of a search.
func (f Filters) search() (keep func(ctd.Found) bool, err error) {
	if err := f.known("is-official", "is-automated", "stars"); err != nil {
		return nil, err
	}
	official, err := f.boolean("is-official")
	if err != nil {
		return nil, err
	}
	automated, err := f.boolean("is-automated")
	if err != nil {
		return nil, err
	}
	stars := 0
	for _, v := range f["stars"] {
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, fmt.Errorf("invalid filter 'stars=%s': %w", v, errdefs.ErrInvalidArgument)
		}
		stars = max(stars, n)
	}
	return func(r ctd.Found) bool {
		return r.Stars >= stars && (official == nil || r.Official == *official) && (automated == nil || !*automated)
	}, nil
}
