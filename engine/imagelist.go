package engine

import (
	"context"
	"fmt"
	"slices"
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
			SharedSize: -1, Containers: int64(users.of(img)), Labels: img.Config.Labels, Descriptor: &target,
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
	if err := f.known("before", "dangling", "label", "label!", "reference", "since", "until"); err != nil {
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
	until, err := f.until(time.Now())
	if err != nil {
		return nil, err
	}
	dangling, err := f.boolean("dangling")
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
		ok = (dangling == nil || *dangling == (len(img.Names) == 0)) && f.matchLabels(img.Config.Labels) && (until.IsZero() || img.Created.Before(until)) &&
			!slices.ContainsFunc(before, func(t time.Time) bool { return !img.Created.Before(t) }) &&
			!slices.ContainsFunc(since, func(t time.Time) bool { return !img.Created.After(t) })
		return tags, digests, ok
	}, nil
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

func familiar(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, ctd.FamiliarName(n))
	}
	return out
}

// imageUsers maps IDs of images to the containers that are made from them or
// mount them, sorted.
type imageUsers map[string][]string

// of counts the containers of an image for all its platforms.
func (u imageUsers) of(img *ctd.Image) (n int) {
	for _, id := range img.IDs() {
		n += len(u[id])
	}
	return n
}

func (e *Engine) imageUsers() imageUsers {
	out := imageUsers{}
	for _, c := range e.all() {
		for _, id := range c.record().images() {
			out[id] = append(out[id], c.id)
		}
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
