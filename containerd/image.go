package containerd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Part is a blob or an unpacked layer on the disk. Key tells it from all others.
type Part struct {
	Key  string
	Size int64 // bytes
}

// Image is an image that is present, as it is for one platform. What a name
// stands for may be here for several:
//
//	name ─▶ index ─┬▶ manifest linux/amd64 ─▶ configuration, layers   here: an Image
//	               ├▶ manifest linux/arm64                            not here
//	               └▶ attestation of linux/amd64                      beside it
//
// Of these the one that the host runs best stands for the image; the others are
// its Platforms. A name may also stand for a manifest alone.
type Image struct {
	ID      string   // digest of its configuration, as Docker has it: sha256:…
	Target  string   // digest of the manifest or index that it was found by, as registries have it
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
	Parts        []Part  // what it takes on the disk, for all its platforms; images may share parts
	Created      time.Time
	Pulled       time.Time // when it last got one of its names: pulled, loaded, committed or tagged
	Architecture string
	Variant      string
	OS           string
	OSVersion    string
	Author       string

	Descriptor ocispec.Descriptor // of Target
	// Platforms is the image for each platform that is here, the best for this
	// host first: that is the image itself. Size and Parts are then of the one
	// platform, and there are no further Platforms.
	Platforms []*Image

	manifest   ocispec.Manifest
	descriptor ocispec.Descriptor // of the manifest, with its platform
}

// Platform is what the image runs on, normalized: as its index says, else as
// it says itself.
func (img *Image) Platform() ocispec.Platform {
	if p := img.descriptor.Platform; p != nil {
		return platforms.Normalize(*p)
	}
	return img.declared()
}

// declared is the platform of the configuration.
func (img *Image) declared() ocispec.Platform {
	return platforms.Normalize(ocispec.Platform{OS: img.OS, Architecture: img.Architecture, Variant: img.Variant, OSVersion: img.OSVersion})
}

// IDs are those of the image for each platform that is here.
func (img *Image) IDs() []string {
	out := []string{img.ID}
	for _, p := range img.Platforms {
		if p.ID != img.ID {
			out = append(out, p.ID)
		}
	}
	return out
}

// For returns the image for a platform that it is here for. With like, one that
// runs there will do: linux/arm/v7 for linux/arm64. Nil when there is none.
func (img *Image) For(p ocispec.Platform, like bool) *Image {
	list := img.Platforms
	if len(list) == 0 {
		list = []*Image{img}
	}
	matcher := platforms.OnlyStrict(p)
	if like {
		matcher = platforms.Only(p)
	}
	var best *Image
	for _, one := range list {
		if matcher.Match(one.Platform()) && (best == nil || matcher.Less(one.Platform(), best.Platform())) {
			best = one
		}
	}
	return best
}

// Image finds an image by reference, ID or unique beginning of its ID, as
// Docker does; by the ID that it has for another platform, it is for that one
// alone. The result is shared and must not be changed. ErrNotFound;
// ErrInvalidArgument when several IDs begin so.
func (r *Runtime) Image(ctx context.Context, ref string) (*Image, error) {
	if img := r.parsed.answer(ref); img != nil {
		return img, nil
	}
	known, generation := r.parsed.list()
	if known != nil {
		if img, err := known.find(ref); err == nil {
			r.parsed.keepAnswer(ref, img, generation)
			return img, nil
		}
		// Somebody else may have just made it: look again before saying no.
		r.parsed.changed()
	}
	known, err := r.listing(ctx)
	if err != nil {
		return nil, err
	}
	return known.find(ref)
}

// Images lists the images that are present, the newest first. They are shared
// and must not be changed.
func (r *Runtime) Images(ctx context.Context) ([]*Image, error) {
	l, err := r.listing(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(l.all), nil
}

// find is the part of Image that needs all images.
func (l *listing) find(ref string) (*Image, error) {
	if id, ok := parseID(ref); ok {
		if img := l.byDigest[id]; img != nil {
			return img, nil
		}
		return nil, fmt.Errorf("image %q: %w", ref, errdefs.ErrNotFound)
	}
	if name, err := NormalizeReference(ref); err == nil {
		if img := l.byName[name]; img != nil {
			return img, nil
		}
	}
	id, err := matchID(ref, l.ids)
	if err != nil {
		return nil, err
	}
	return l.byDigest[id], nil
}
