package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// listing is all images that are here, at one moment.
type listing struct {
	all      []*Image          // each ID once, the newest first
	byName   map[string]*Image // key: complete reference, also repository@target
	byDigest map[string]*Image // key: ID, also for further platforms; target
	ids      []string
}

// target is what names point to, and what of it is here.
type target struct {
	desc    ocispec.Descriptor
	records []images.Image
	here    []*Image // for each platform, the best first; without names
	beside  []Part   // the index and attestations
}

// listing reads all images, unless nothing has changed since.
func (r *Runtime) listing(ctx context.Context) (*listing, error) {
	ctx = r.with(ctx)
	known, generation := r.parsed.list()
	if known != nil {
		return known, nil
	}
	records, err := r.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	byTarget := map[string]*target{}
	var targets []*target
	for _, rec := range records {
		t := byTarget[rec.Target.Digest.String()]
		if t == nil {
			t, err = r.parse(ctx, rec)
			if errors.Is(err, errdefs.ErrNotFound) {
				continue // not an image, or not whole: an interrupted removal
			}
			if err != nil {
				return nil, err
			}
			byTarget[rec.Target.Digest.String()] = t
			targets = append(targets, t)
		}
		t.records = append(t.records, rec)
	}
	l := newListing(targets)
	r.parsed.keep(l, generation)
	return l, nil
}

// newListing puts together what several targets have in common: the image that
// stands for them.
func newListing(targets []*target) *listing {
	l := &listing{byName: map[string]*Image{}, byDigest: map[string]*Image{}}
	// One that has more platforms than another stands for both.
	slices.SortFunc(targets, func(a, b *target) int {
		return cmp.Or(len(b.here)-len(a.here), strings.Compare(a.desc.Digest.String(), b.desc.Digest.String()))
	})
	groups := map[string][]*target{}
	for _, t := range targets {
		groups[t.here[0].ID] = append(groups[t.here[0].ID], t)
	}
	var further []*Image
	for id, group := range groups {
		names := commonNames(group)
		for i, t := range group {
			img := t.image(names, group)
			for _, name := range t.names() {
				l.byName[name] = img
			}
			l.byDigest[t.desc.Digest.String()] = img
			if i == 0 {
				l.all = append(l.all, img)
			}
			further = append(further, img.Platforms...)
		}
		l.byDigest[id] = l.all[len(l.all)-1]
	}
	slices.SortFunc(l.all, func(a, b *Image) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	slices.SortFunc(further, func(a, b *Image) int { return strings.Compare(a.Target, b.Target) })
	for _, img := range further {
		if l.byDigest[img.ID] == nil {
			l.byDigest[img.ID] = img
		}
	}
	for digest := range l.byDigest {
		if img := l.byDigest[digest]; img.ID == digest {
			l.ids = append(l.ids, digest)
		}
	}
	slices.Sort(l.ids)
	return l
}

// image is a target as the image that stands for it, with what the group has.
func (t *target) image(names named, group []*target) *Image {
	img := *t.here[0]
	names.give(&img)
	img.Descriptor, img.Target = t.desc, t.desc.Digest.String()
	parts := partSet{}
	for _, other := range group {
		parts.add(other.beside)
		for _, p := range other.here {
			parts.add(p.Parts)
		}
	}
	img.Parts, img.Size = parts.list, parts.size
	for _, p := range t.here {
		one := *p
		names.give(&one)
		one.Descriptor, one.Target = img.Descriptor, img.Target
		img.Platforms = append(img.Platforms, &one)
	}
	return &img
}

// names are the references by which a target is found.
func (t *target) names() (out []string) {
	n := named{}
	for _, rec := range t.records {
		n.add(rec)
		out = append(out, rec.Name)
	}
	return append(out, n.digests...)
}

// partSet is parts without repetition.
type partSet struct {
	seen map[string]bool
	list []Part
	size int64
}

func (s *partSet) add(parts []Part) {
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	for _, p := range parts {
		if !s.seen[p.Key] {
			s.seen[p.Key] = true
			s.list = append(s.list, p)
			s.size += p.Size
		}
	}
}

// named is what images are called, sorted.
type named struct {
	names, pinned, digests []string
	pulled                 time.Time
}

func commonNames(group []*target) (n named) {
	for _, t := range group {
		for _, rec := range t.records {
			n.add(rec)
		}
	}
	for _, list := range []*[]string{&n.names, &n.pinned, &n.digests} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return n
}

func (n *named) give(img *Image) {
	img.Names, img.Pinned, img.Digests, img.Pulled = n.names, n.pinned, n.digests, n.pulled
}

func (n *named) add(rec images.Image) {
	if rec.UpdatedAt.After(n.pulled) {
		n.pulled = rec.UpdatedAt
	}
	if strings.HasPrefix(rec.Name, danglingPrefix) {
		return
	}
	ref, err := reference.ParseNormalizedNamed(rec.Name)
	if err != nil {
		n.names = append(n.names, rec.Name)
		return
	}
	if _, ok := ref.(reference.Tagged); ok {
		n.names = append(n.names, rec.Name)
	} else {
		n.pinned = append(n.pinned, rec.Name)
	}
	n.digests = append(n.digests, ref.Name()+"@"+rec.Target.Digest.String())
}
