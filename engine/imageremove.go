package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
)

// ImageRemoveOptions says how an image is removed.
type ImageRemoveOptions struct {
	Force     bool     // also from stopped containers, and all names that an ID has
	Platforms []string // what is taken away of it, such as linux/arm64; the whole image when empty
}

// RemoveImage takes a name away, and the image when it has no other; for an ID,
// all names. Of some platforms it takes away what is here of them, the name
// stays; so it does for the ID that an image has for a further platform.
// Conflicts are Docker's.
func (e *Engine) RemoveImage(ctx context.Context, ref string, o ImageRemoveOptions) ([]image.DeleteResponse, error) {
	img, err := e.image(ctx, ref)
	if err != nil {
		return nil, err
	}
	var only []*ctd.Image
	for _, p := range o.Platforms {
		one, err := e.imageFor(ctx, ref, p)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(only, one) {
			only = append(only, one)
		}
	}
	if len(img.Platforms) == 0 {
		only = []*ctd.Image{img}
		if img, err = e.image(ctx, img.Target); err != nil {
			return nil, err
		}
	}
	if len(only) > 0 && len(only) < len(img.Platforms) {
		return e.removePlatforms(ctx, img, only, o.Force)
	}
	rm, err := planRemoval(img, ref, o.Force, e.imageUse(img))
	if err != nil {
		return nil, err
	}
	return e.removeImages(ctx, map[string]*ctd.Image{img.ID: img}, rm)
}

func (e *Engine) removePlatforms(ctx context.Context, img *ctd.Image, only []*ctd.Image, force bool) (out []image.DeleteResponse, err error) {
	for _, one := range only {
		use := e.imageUse(one)
		switch {
		case use.running != "":
			return nil, removalConflict(one, "cannot be forced", "image is being used by running container "+short(use.running))
		case use.stopped != "" && !force:
			return nil, removalConflict(one, "must be forced", "image is being used by stopped container "+short(use.stopped))
		}
	}
	if err := e.rt.RemovePlatforms(ctx, img, only); err != nil {
		return nil, err
	}
	for _, one := range only {
		out = append(out, image.DeleteResponse{Deleted: one.Manifest().Digest.String()})
		e.emitImage(events.ActionDelete, one.ID, one.ID, one.Config.Labels)
	}
	return out, nil
}

func removalConflict(img *ctd.Image, can, why string) error {
	return fmt.Errorf("conflict: unable to delete %s (%s) - %s: %w", short(strings.TrimPrefix(img.ID, "sha256:")), can, why, errdefs.ErrConflict)
}

// imageUse names a container that runs from an image and one that does not.
type imageUse struct{ running, stopped string }

func (e *Engine) imageUse(img *ctd.Image) (u imageUse) {
	ids := img.IDs()
	for _, c := range e.all() {
		if !slices.ContainsFunc(c.record().images(), func(id string) bool { return slices.Contains(ids, id) }) {
			continue
		}
		if st := c.state(); st.alive() || st.Status == container.StateRestarting {
			u.running = c.id
		} else {
			u.stopped = c.id
		}
	}
	return u
}

// planRemoval decides what a removal takes away. Names go before the image
// does: one that is in use stays without a name if that is forced.
func planRemoval(img *ctd.Image, ref string, force bool, use imageUse) (ctd.Removal, error) {
	rm := ctd.Removal{ID: img.ID, Names: namesMeant(img, ref)}
	all := append(slices.Clone(img.Names), img.Pinned...)
	id := short(strings.TrimPrefix(img.ID, "sha256:"))
	if len(rm.Names) == 0 { // by ID
		switch {
		case use.running != "":
			return rm, removalConflict(img, "cannot be forced", "image is being used by running container "+short(use.running))
		case !force && !oneName(img):
			return rm, removalConflict(img, "must be forced", "image is referenced in multiple repositories")
		case !force && use.stopped != "":
			return rm, removalConflict(img, "must be forced", "image is being used by stopped container "+short(use.stopped))
		}
		rm.Names = all
		return rm, nil
	}
	if user := cmp.Or(use.running, use.stopped); !force && user != "" && oneName(img) {
		return rm, fmt.Errorf("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s: %w", ref, short(user), id, errdefs.ErrConflict)
	}
	rm.Names = withPins(img, rm.Names)
	rm.Keep = use.running != "" || use.stopped != "" && !force
	return rm, nil
}

// namesMeant are the names of an image that a reference stands for: none for
// an ID, all of the repository for one with a digest that was not pulled as such.
func namesMeant(img *ctd.Image, ref string) []string {
	name, err := ctd.NormalizeReference(ref)
	if err != nil {
		return nil
	}
	if slices.Contains(img.Names, name) || slices.Contains(img.Pinned, name) {
		return []string{name}
	}
	if !slices.Contains(img.Digests, name) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(img.Names), func(n string) bool { return repositoryOf(n) != repositoryOf(name) })
}

// withPins adds the digests of repositories that keep no tag.
func withPins(img *ctd.Image, names []string) []string {
	out := slices.Clone(names)
	for _, pin := range img.Pinned {
		repo := repositoryOf(pin)
		leaves := slices.ContainsFunc(names, func(n string) bool { return repositoryOf(n) == repo })
		stays := slices.ContainsFunc(img.Names, func(n string) bool { return repositoryOf(n) == repo && !slices.Contains(names, n) })
		if leaves && !stays && !slices.Contains(out, pin) && !slices.Contains(img.Pinned, names[0]) {
			out = append(out, pin)
		}
	}
	return out
}

// oneName tells whether an image has at most one tag, and digests of that
// repository only.
func oneName(img *ctd.Image) bool {
	repos := map[string]bool{}
	for _, n := range append(slices.Clone(img.Names), img.Pinned...) {
		repos[repositoryOf(n)] = true
	}
	return len(img.Names) <= 1 && len(repos) <= 1
}

func repositoryOf(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return named.Name()
}

// removeImages carries removals out and tells what became of names and images.
func (e *Engine) removeImages(ctx context.Context, imgs map[string]*ctd.Image, removals ...ctd.Removal) ([]image.DeleteResponse, error) {
	defer e.room.spend()()
	deleted, err := e.rt.Remove(ctx, removals...)
	if err != nil {
		return nil, err
	}
	var out []image.DeleteResponse
	for _, rm := range removals {
		for _, n := range rm.Names {
			out = append(out, image.DeleteResponse{Untagged: ctd.FamiliarName(n)})
			e.emitImage(events.ActionUnTag, rm.ID, rm.ID, imgs[rm.ID].Config.Labels)
		}
		if slices.Contains(deleted, rm.ID) {
			out = append(out, image.DeleteResponse{Deleted: rm.ID})
			e.emitImage(events.ActionDelete, rm.ID, rm.ID, imgs[rm.ID].Config.Labels)
		}
	}
	return out, nil
}

// PruneImages deletes images without a name that no container uses, or, with
// the filter dangling=false, all that none uses; and, unless some are chosen,
// what interrupted pulls have left.
func (e *Engine) PruneImages(ctx context.Context, f Filters) (image.PruneReport, error) {
	var report image.PruneReport
	if err := f.known("dangling", "label", "label!", "until"); err != nil {
		return report, err
	}
	dangling, err := f.boolean("dangling")
	if err != nil {
		return report, err
	}
	until, err := f.until(time.Now())
	if err != nil {
		return report, err
	}
	all, err := e.rt.Images(ctx)
	if err != nil {
		return report, err
	}
	if until.IsZero() && len(f["label"])+len(f["label!"]) == 0 {
		if err := e.dropInterrupted(ctx); err != nil {
			return report, err
		}
	}
	users, imgs := e.imageUsers(), map[string]*ctd.Image{}
	var removals []ctd.Removal
	for _, img := range all {
		names := append(slices.Clone(img.Names), img.Pinned...)
		if users.of(img) > 0 || (dangling == nil || *dangling) && len(names) > 0 || !f.matchLabels(img.Config.Labels) || !until.IsZero() && img.Created.After(until) {
			continue
		}
		imgs[img.ID] = img
		removals = append(removals, ctd.Removal{ID: img.ID, Names: names})
	}
	if len(removals) > 0 {
		before, err := e.rt.StoreSize(ctx)
		if err != nil {
			return report, err
		}
		if report.ImagesDeleted, err = e.removeImages(ctx, imgs, removals...); err != nil {
			return report, err
		}
		after, err := e.rt.StoreSize(ctx)
		if err != nil {
			return report, err
		}
		report.SpaceReclaimed = uint64(max(0, before-after)) // others may pull meanwhile
	}
	e.emit(events.ImageEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, nil
}
