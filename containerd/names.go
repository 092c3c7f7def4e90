package containerd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// setName gives an image a name. The image that had it and has no other stays
// without one, as with Docker: its containers need it.
func (r *Runtime) setName(ctx context.Context, name string, target ocispec.Descriptor) error {
	r.naming.Lock()
	defer r.naming.Unlock()
	defer r.parsed.changed()
	store := r.client.ImageService()
	target.Annotations, target.Platform = nil, nil
	rec := images.Image{Name: name, Target: target}
	old, err := store.Get(ctx, name)
	switch {
	case errdefs.IsNotFound(err):
		_, err = store.Create(ctx, rec)
	case err == nil:
		if old.Target.Digest != target.Digest {
			if err := r.keepUnnamed(ctx, old); err != nil {
				return err
			}
		}
		_, err = store.Update(ctx, rec)
	}
	if err != nil {
		return fmt.Errorf("naming image %q: %w", name, err)
	}
	if strings.HasPrefix(name, danglingPrefix) {
		return nil
	}
	if err := store.Delete(ctx, danglingPrefix+target.Digest.String()); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("naming image %q: %w", name, err)
	}
	return nil
}

// keepUnnamed keeps an image that is about to lose a name, if it is the last.
func (r *Runtime) keepUnnamed(ctx context.Context, rec images.Image) error {
	store := r.client.ImageService()
	same, err := store.List(ctx, "target.digest=="+rec.Target.Digest.String())
	if err != nil {
		return fmt.Errorf("names of image %q: %w", rec.Name, err)
	}
	if len(same) > 1 {
		return nil
	}
	kept := images.Image{Name: danglingPrefix + rec.Target.Digest.String(), Target: rec.Target, Labels: rec.Labels}
	if _, err := store.Create(ctx, kept); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keeping the image that was named %q: %w", rec.Name, err)
	}
	return nil
}

// Tag gives a present image a further name, for all its platforms; by an ID
// that it has for another platform, for that one. ErrNotFound,
// ErrInvalidArgument.
func (r *Runtime) Tag(ctx context.Context, ref, name string) error {
	ctx = r.with(ctx)
	img, err := r.Image(ctx, ref)
	if err != nil {
		return err
	}
	if name, err = NormalizeReference(name); err != nil {
		return err
	}
	if strings.Contains(name, "@") {
		return fmt.Errorf("refusing to create a tag with a digest reference: %w", errdefs.ErrInvalidArgument)
	}
	target := img.Descriptor
	if len(img.Platforms) == 0 {
		target = img.descriptor
	}
	return r.setName(ctx, name, target)
}

// Removal says which names an image loses. An image without a name is deleted,
// unless Keep is set: then it stays without one, for the containers that use it.
type Removal struct {
	ID    string   // the image
	Names []string // complete references, of its Names and Pinned
	Keep  bool
}

// Remove takes names away from images and returns the IDs of those that it
// deleted; their content has left the disk then. Whether containers use them
// is the caller's to check. Names that are gone already are no error.
func (r *Runtime) Remove(ctx context.Context, removals ...Removal) (deleted []string, err error) {
	ctx = r.with(ctx)
	r.naming.Lock()
	defer r.naming.Unlock()
	defer r.parsed.removed()
	var errs *multierror.Error
	for _, rm := range removals {
		gone, err := r.removeNames(ctx, rm)
		if err != nil {
			errs = multierror.Append(errs, fmt.Errorf("removing image %q: %w", rm.ID, err))
		}
		if gone {
			deleted = append(deleted, rm.ID)
		}
	}
	if len(deleted) > 0 {
		errs = multierror.Append(errs, r.Collect(ctx))
	}
	return deleted, errs.ErrorOrNil()
}

func (r *Runtime) removeNames(ctx context.Context, rm Removal) (gone bool, err error) {
	store := r.client.ImageService()
	records, err := store.List(ctx)
	if err != nil {
		return false, err
	}
	var mine, taken []images.Image
	for _, rec := range records {
		if t, err := r.parse(ctx, rec); err != nil || t.here[0].ID != rm.ID {
			continue
		}
		mine = append(mine, rec)
		if slices.Contains(rm.Names, rec.Name) || strings.HasPrefix(rec.Name, danglingPrefix) {
			taken = append(taken, rec)
		}
	}
	last := len(mine) > 0 && len(taken) == len(mine)
	if last && rm.Keep {
		kept := images.Image{Name: danglingPrefix + mine[0].Target.Digest.String(), Target: mine[0].Target, Labels: mine[0].Labels}
		if _, err := store.Create(ctx, kept); err != nil && !errdefs.IsAlreadyExists(err) {
			return false, err
		}
	}
	var errs *multierror.Error
	for _, rec := range taken {
		if strings.HasPrefix(rec.Name, danglingPrefix) && (rm.Keep || !last) {
			continue
		}
		if err := store.Delete(ctx, rec.Name); err != nil && !errdefs.IsNotFound(err) {
			errs = multierror.Append(errs, err)
		}
	}
	err = errs.ErrorOrNil()
	return last && !rm.Keep && err == nil, err
}

// RemovePlatforms takes away what is here of an image for some of its
// platforms, and the attestations of it; names stay. Other indexes that name
// the same manifests lose them, too. Whether containers use them is the
// caller's to check. ErrConflict when nothing would be left of another image.
func (r *Runtime) RemovePlatforms(ctx context.Context, img *Image, gone []*Image) error {
	ctx = r.with(ctx)
	r.naming.Lock()
	defer r.naming.Unlock()
	defer r.parsed.removed()
	variants, err := r.Variants(ctx, img)
	if err != nil {
		return err
	}
	known, err := r.listing(ctx)
	if err != nil {
		return err
	}
	taken := map[digest.Digest]bool{}
	for _, one := range gone {
		taken[one.descriptor.Digest] = true
	}
	for _, name := range slices.Sorted(maps.Keys(known.byName)) {
		other := known.byName[name]
		stays := slices.ContainsFunc(other.Platforms, func(p *Image) bool { return !taken[p.descriptor.Digest] })
		if other.Target != img.Target && !stays {
			return fmt.Errorf("conflict: unable to delete a platform of image %s - image %s is nothing else, remove that first: %w", img.ID, FamiliarName(name), errdefs.ErrConflict)
		}
	}
	for _, v := range variants {
		if v.Attestation && taken[digest.Digest(v.Describes)] {
			taken[v.Descriptor.Digest] = true
		}
	}
	var errs *multierror.Error
	for _, d := range slices.Sorted(maps.Keys(taken)) {
		if err := r.client.ContentStore().Delete(ctx, d); err != nil && !errdefs.IsNotFound(err) {
			errs = multierror.Append(errs, fmt.Errorf("removing manifest %s: %w", d, err))
		}
	}
	errs = multierror.Append(errs, r.Collect(ctx))
	return errs.ErrorOrNil()
}
