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
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// labelPlatform says for which platform an image was asked, when not the host's.
const labelPlatform = "gantry/platform"

// Part is a blob or an unpacked layer on the disk. Key tells it from all others.
type Part struct {
	Key  string
	Size int64 // bytes
}

// Image is an image that is present, for one platform.
type Image struct {
	ID      string   // digest of its configuration, as Docker has it: sha256:…
	Target  string   // digest of its manifest or index, as registries have it
	Names   []string // complete references, sorted; none for an image that lost its name
	Pinned  []string // complete references with a digest after which it was pulled, sorted
	Digests []string // repository@target for each repository of Names, sorted

	Config       imagespec.DockerOCIImageConfig // with Healthcheck, Shell, OnBuild
	DiffIDs      []string                       // digests of the uncompressed layers, lowest first
	ChainID      string                         // key of the snapshot that has all layers
	History      []ocispec.History
	Size         int64   // bytes on disk: all of Parts
	Unpacked     int64   // bytes of the unpacked layers
	Layers       []int64 // bytes of each of them unpacked, like DiffIDs
	Parts        []Part  // what it takes on the disk; images may share parts
	Created      time.Time
	Pulled       time.Time // when it last got one of its names: pulled, loaded, committed or tagged
	Architecture string
	Variant      string
	OS           string
	OSVersion    string
	Author       string

	Descriptor ocispec.Descriptor // of Target

	manifest   ocispec.Manifest
	descriptor ocispec.Descriptor // of the manifest
	asked      string             // the platform it was asked for, "" for the host's
}

// Image finds an image by reference, ID or unique beginning of its ID, as
// Docker does. The result is shared and must not be changed. ErrNotFound;
// ErrInvalidArgument when several IDs begin so.
func (r *Runtime) Image(ctx context.Context, ref string) (*Image, error) {
	if img := r.parsed.answer(ref); img != nil {
		return img, nil
	}
	all, generation := r.parsed.list()
	if all != nil {
		if img, err := find(ref, all); err == nil {
			r.parsed.keepAnswer(ref, img, generation)
			return img, nil
		}
		// Somebody else may have just made it: look again before saying no.
		r.parsed.changed()
	}
	all, err := r.Images(ctx)
	if err != nil {
		return nil, err
	}
	return find(ref, all)
}

// find is the part of Image that needs all images.
func find(ref string, all []*Image) (*Image, error) {
	ids := make([]string, 0, len(all))
	byID := map[string]*Image{}
	for _, img := range all {
		ids = append(ids, img.ID)
		byID[img.ID] = img
	}
	if id, ok := parseID(ref); ok {
		if img := byID[id]; img != nil {
			return img, nil
		}
		for _, img := range all {
			if img.Target == id {
				return img, nil
			}
		}
		return nil, fmt.Errorf("image %q: %w", ref, errdefs.ErrNotFound)
	}
	if name, err := NormalizeReference(ref); err == nil {
		for _, img := range all {
			if slices.Contains(img.Names, name) || slices.Contains(img.Digests, name) {
				return img, nil
			}
		}
	}
	id, err := matchID(ref, ids)
	if err != nil {
		return nil, err
	}
	return byID[id], nil
}

// Images lists the images that are present, the newest first. They are shared
// and must not be changed.
func (r *Runtime) Images(ctx context.Context) ([]*Image, error) {
	ctx = r.with(ctx)
	all, generation := r.parsed.list()
	if all != nil {
		return slices.Clone(all), nil
	}
	records, err := r.client.ImageService().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	byID := map[string]*Image{}
	for _, rec := range records {
		img, err := r.parse(ctx, rec)
		if errors.Is(err, errdefs.ErrNotFound) {
			continue // not an image, or not whole: an interrupted removal
		}
		if err != nil {
			return nil, err
		}
		if byID[img.ID] == nil {
			c := *img
			byID[img.ID] = &c
		}
		byID[img.ID].addName(rec)
	}
	out := make([]*Image, 0, len(byID))
	for _, img := range byID {
		img.complete()
		out = append(out, img)
	}
	slices.SortFunc(out, func(a, b *Image) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	r.parsed.keep(out, generation)
	return slices.Clone(out), nil
}

func (img *Image) addName(rec images.Image) {
	if rec.UpdatedAt.After(img.Pulled) {
		img.Pulled = rec.UpdatedAt
	}
	if strings.HasPrefix(rec.Name, danglingPrefix) {
		return
	}
	named, err := reference.ParseNormalizedNamed(rec.Name)
	if err != nil {
		img.Names = append(img.Names, rec.Name)
		return
	}
	if _, ok := named.(reference.Tagged); ok {
		img.Names = append(img.Names, rec.Name)
	} else {
		img.Pinned = append(img.Pinned, rec.Name)
	}
	img.Digests = append(img.Digests, named.Name()+"@"+rec.Target.Digest.String())
}

func (img *Image) complete() {
	slices.Sort(img.Names)
	slices.Sort(img.Pinned)
	slices.Sort(img.Digests)
	img.Names, img.Digests = slices.Compact(img.Names), slices.Compact(img.Digests)
}
