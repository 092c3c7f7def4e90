package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
)

// ImageListOptions says which images ListImages returns, and what it tells.
type ImageListOptions struct {
	Filters    Filters
	SharedSize bool // what of an image others have too, -1 otherwise
	Manifests  bool // all variants, those that are not here included
}

// ListImages returns the images that are present, the newest first.
func (e *Engine) ListImages(ctx context.Context, o ImageListOptions) ([]image.Summary, error) {
	want, err := e.imageFilter(ctx, o.Filters)
	if err != nil {
		return nil, err
	}
	all, err := e.rt.Images(ctx)
	if err != nil {
		return nil, err
	}
	users, shared := e.imageUsers(), sharedSizes(all)
	out := make([]image.Summary, 0, len(all))
	for _, img := range all {
		tags, digests, ok := want(img)
		if !ok {
			continue
		}
		target := img.Descriptor
		s := image.Summary{
			ID: img.ID, RepoTags: tags, RepoDigests: digests, Created: img.Created.Unix(), Size: img.Size,
			SharedSize: -1, Containers: int64(len(users[img.ID])), Labels: img.Config.Labels, Descriptor: &target,
		}
		if o.SharedSize {
			s.SharedSize = shared[img.ID]
		}
		if o.Manifests {
			if s.Manifests, err = e.manifests(ctx, img); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// imageFilter turns filters into a decision, which also says which of an
// image's names are meant. Source: Engine API, GET /images/json.
func (e *Engine) imageFilter(ctx context.Context, f Filters) (func(*ctd.Image) (tags, digests []string, ok bool), error) {
	if err := knownFilters(f, "before", "dangling", "label", "label!", "reference", "since", "until"); err != nil {
		return nil, err
	}
	before, err := e.imageBounds(ctx, f["before"])
	if err != nil {
		return nil, err
	}
	since, err := e.imageBounds(ctx, f["since"])
	if err != nil {
		return nil, err
	}
	until, err := untilTime(f["until"], time.Now())
	if err != nil {
		return nil, err
	}
	dangling, err := boolFilter(f, "dangling")
	if err != nil {
		return nil, err
	}
	for _, p := range f["reference"] {
		if _, err := matchesReference(p, "x:y"); err != nil {
			return nil, err
		}
	}
	return func(img *ctd.Image) (tags, digests []string, ok bool) {
		tags, digests = familiar(img.Names), familiar(img.Digests)
		if patterns := f["reference"]; len(patterns) > 0 {
			other := func(name string) bool {
				return !slices.ContainsFunc(patterns, func(p string) bool { ok, _ := matchesReference(p, name); return ok })
			}
			tags, digests = slices.DeleteFunc(tags, other), slices.DeleteFunc(digests, other)
			if len(tags)+len(digests) == 0 {
				return nil, nil, false
			}
		}
		ok = (dangling == nil || *dangling == (len(img.Names) == 0)) && matchImageLabels(img, f) && (until.IsZero() || img.Created.Before(until)) &&
			!slices.ContainsFunc(before, func(t time.Time) bool { return !img.Created.Before(t) }) &&
			!slices.ContainsFunc(since, func(t time.Time) bool { return !img.Created.After(t) })
		return tags, digests, ok
	}, nil
}

func matchImageLabels(img *ctd.Image, f Filters) bool {
	return matchLabels(img.Config.Labels, f["label"]) &&
		!slices.ContainsFunc(f["label!"], func(l string) bool { return matchLabels(img.Config.Labels, []string{l}) })
}

// matchesReference tells whether a name matches a pattern, with or without its
// tag. Source: docker image ls --filter reference.
func matchesReference(pattern, name string) (bool, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false, nil
	}
	ok, err := reference.FamiliarMatch(pattern, named)
	if err != nil {
		return false, fmt.Errorf("invalid filter 'reference=%s': %w: %w", pattern, err, errdefs.ErrInvalidArgument)
	}
	return ok, nil
}

func (e *Engine) imageBounds(ctx context.Context, refs []string) ([]time.Time, error) {
	var out []time.Time
	for _, ref := range refs {
		img, err := e.image(ctx, ref)
		if err != nil {
			return nil, err
		}
		out = append(out, img.Created)
	}
	return out, nil
}

// knownFilters refuses keys that are not among known.
func knownFilters(f Filters, known ...string) error {
	for key := range f {
		if !slices.Contains(known, key) {
			return fmt.Errorf("invalid filter '%s': %w", key, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// boolFilter reads a filter with one boolean value, nil when it is not given.
func boolFilter(f Filters, key string) (*bool, error) {
	switch values := f[key]; {
	case len(values) == 0:
		return nil, nil
	case len(values) == 1 && slices.Contains([]string{"true", "1"}, strings.ToLower(values[0])):
		yes := true
		return &yes, nil
	case len(values) == 1 && slices.Contains([]string{"false", "0"}, strings.ToLower(values[0])):
		no := false
		return &no, nil
	default:
		return nil, fmt.Errorf("invalid filter '%s=%s': %w", key, values, errdefs.ErrInvalidArgument)
	}
}

// untilTime reads the until filter: how long before now, a date, or seconds
// since 1970; the zero time when it is not given.
func untilTime(values []string, now time.Time) (time.Time, error) {
	if len(values) == 0 {
		return time.Time{}, nil
	}
	if len(values) > 1 {
		return time.Time{}, fmt.Errorf("more than one until filter specified: %w", errdefs.ErrInvalidArgument)
	}
	v := values[0]
	if d, err := time.ParseDuration(v); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, v, now.Location()); err == nil {
			return t, nil
		}
	}
	seconds, fraction, _ := strings.Cut(v, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	nanos, nerr := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil || nerr != nil {
		return time.Time{}, fmt.Errorf("invalid filter 'until=%s': want a duration, a date or seconds since 1970: %w", v, errdefs.ErrInvalidArgument)
	}
	return time.Unix(sec, nanos), nil
}

func familiar(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, ctd.FamiliarName(n))
	}
	return out
}

// imageUsers maps images to the containers made from them, sorted.
func (e *Engine) imageUsers() map[string][]string {
	out := map[string][]string{}
	for _, c := range e.all() {
		id := c.record().ImageID
		out[id] = append(out[id], c.id)
	}
	return out
}

// sharedSizes tells for each image how many bytes of it others have too.
func sharedSizes(all []*ctd.Image) map[string]int64 {
	having := map[string]int{}
	for _, img := range all {
		for _, p := range img.Parts {
			having[p.Key]++
		}
	}
	out := make(map[string]int64, len(all))
	for _, img := range all {
		out[img.ID] = 0
		for _, p := range img.Parts {
			if having[p.Key] > 1 {
				out[img.ID] += p.Size
			}
		}
	}
	return out
}

// totalSize is what images take on the disk together.
func totalSize(all []*ctd.Image) (total int64) {
	seen := map[string]bool{}
	for _, img := range all {
		for _, p := range img.Parts {
			if !seen[p.Key] {
				seen[p.Key] = true
				total += p.Size
			}
		}
	}
	return total
}
