package containerd

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/moby/go-archive/compression"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Loaded is one image that Load found.
type Loaded struct {
	Name string // complete reference, "" when the archive has none for it
	ID   string
}

// LoadOptions says what is loaded of an archive, and who hears of it.
type LoadOptions struct {
	Platforms []string // such as linux/arm64; all that the archive has when empty
	Progress  func(Progress)
}

// Load reads an archive as docker save, skopeo or buildah write it (Docker's
// or OCI's format, plain or compressed with gzip, bzip2, xz or zstd), and
// unpacks its images, of several platforms the one that suits the host best. An
// image has its name only when all of it is here.
func (r *Runtime) Load(ctx context.Context, from io.Reader, o LoadOptions) ([]Loaded, error) {
	ctx, done, err := r.lease(r.with(ctx), "")
	if err != nil {
		return nil, err
	}
	defer r.garbage.request() // the archive's own index, other platforms, what failed
	defer done()
	store := archiveStore{r.client.ContentStore(), "load-" + rand.Text()}
	index, err := importArchive(ctx, store, from)
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	var out []Loaded
	for _, m := range index.Manifests {
		if isAttestation(m) {
			continue
		}
		l, err := r.loadOne(ctx, store, m, o)
		if err != nil {
			return out, err
		}
		out = append(out, l)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("image archive: it holds no image: %w", errdefs.ErrInvalidArgument)
	}
	return out, nil
}

// importArchive puts an archive's blobs into the content store.
func importArchive(ctx context.Context, store content.Store, from io.Reader) (index ocispec.Index, err error) {
	stream, err := compression.DecompressStream(from)
	if err != nil {
		return index, err
	}
	defer stream.Close()
	desc, err := archive.ImportIndex(ctx, store, stream)
	if err != nil {
		return index, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	b, err := content.ReadBlob(ctx, store, desc)
	if err != nil {
		return index, err
	}
	return index, json.Unmarshal(b, &index)
}

func (r *Runtime) loadOne(ctx context.Context, store content.Store, target ocispec.Descriptor, o LoadOptions) (Loaded, error) {
	fail := func(err error) (Loaded, error) {
		return Loaded{}, fmt.Errorf("image %q of the archive: %w", cmp.Or(FamiliarName(archiveName(target.Annotations)), target.Digest.String()), err)
	}
	chosen, err := r.loadable(ctx, store, target, o.Platforms)
	if err != nil {
		return fail(err)
	}
	here := images.HandlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { return nil, nil })
	children := images.SetChildrenLabels(store, childrenOf(store))
	if images.IsIndexType(target.MediaType) {
		if err := r.keepIndexes(ctx, children, target, 0); err != nil {
			return fail(err)
		}
	}
	for i, img := range chosen {
		if i > 0 { // others are unpacked when a container needs them
			if err := images.Dispatch(ctx, children, nil, img.descriptor); err != nil {
				return fail(err)
			}
			continue
		}
		if err := r.walk(ctx, img.descriptor, platforms.All, here, o.Progress); err != nil {
			return fail(err)
		}
	}
	if images.IsIndexType(target.MediaType) {
		if err := r.attestations(ctx, store, target, here); err != nil {
			return fail(err)
		}
	}
	l := Loaded{Name: archiveName(target.Annotations), ID: chosen[0].ID}
	if l.Name != "" {
		return l, r.setName(ctx, l.Name, target)
	}
	if known, err := r.Image(ctx, target.Digest.String()); err == nil && known.Target == target.Digest.String() {
		r.parsed.changed() // of one that has a name already, or is kept without one, there may be more now
		return l, nil
	}
	return l, r.setName(ctx, danglingPrefix+target.Digest.String(), target)
}

// keepIndexes has an index keep its manifests, and so those in it.
func (r *Runtime) keepIndexes(ctx context.Context, children images.HandlerFunc, index ocispec.Descriptor, depth int) error {
	list, err := children(ctx, index)
	if err != nil {
		return err
	}
	for _, d := range list {
		if images.IsIndexType(d.MediaType) && depth < maxNesting {
			if err := r.keepIndexes(ctx, children, d, depth+1); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
	}
	return nil
}

// loadable are the images of a target that an archive has whole, for all
// platforms or those asked for, the best for this host first. ErrNotFound.
func (r *Runtime) loadable(ctx context.Context, store content.Store, target ocispec.Descriptor, asked []string) (chosen []*Image, err error) {
	list, err := r.manifests(ctx, store, target, 0)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if isAttestation(d) {
			continue
		}
		all, _, err := present(ctx, store, d)
		if err != nil {
			return nil, err
		}
		if !all && images.IsIndexType(target.MediaType) {
			continue
		}
		img, err := readImage(ctx, store, d)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, img)
	}
	if len(asked) > 0 {
		offered := &Image{Platforms: chosen}
		chosen = nil
		for _, text := range asked {
			p, err := platforms.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("platform %q: %w: %w", text, err, errdefs.ErrInvalidArgument)
			}
			var img *Image
			if len(offered.Platforms) > 0 {
				img = offered.For(p, true)
			}
			if img == nil {
				return nil, fmt.Errorf("requested platform (%s) was not found: %w", text, errdefs.ErrNotFound)
			}
			if !slices.Contains(chosen, img) {
				chosen = append(chosen, img)
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no platform of it is in the archive whole: %w", errdefs.ErrNotFound)
	}
	sortForHost(chosen)
	return chosen, nil
}

// archiveName is the complete reference that an archive gives an image: its
// whole name, as Docker and BuildKit write it, or the name after which skopeo
// or buildah was asked. A mere tag is none.
func archiveName(annotations map[string]string) string {
	name := annotations[images.AnnotationImageName]
	if name == "" {
		name = annotations[ocispec.AnnotationRefName]
		if !strings.ContainsAny(name, ":/") {
			return ""
		}
	}
	full, err := NormalizeReference(name)
	if err != nil {
		return ""
	}
	return full
}
