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
	Platform string // such as linux/arm64; the host's, else any, when empty
	Progress func(Progress)
}

// Load reads an archive as docker save, skopeo or buildah write it (Docker's
// or OCI's format, plain or compressed with gzip, bzip2, xz or zstd), and
// unpacks its images. An image has its name only when all of it is here.
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
	matcher, asked, err := loadable(ctx, store, target, o.Platform)
	if err != nil {
		return Loaded{}, err
	}
	img, err := readImage(ctx, store, target, asked)
	if err != nil {
		return Loaded{}, fmt.Errorf("image %q of the archive: %w", target.Digest, err)
	}
	here := images.HandlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { return nil, nil })
	if err := r.walk(ctx, target, matcher, here, o.Progress); err != nil {
		return Loaded{}, fmt.Errorf("image %q of the archive: %w", target.Digest, err)
	}
	l := Loaded{Name: archiveName(target.Annotations), ID: img.ID}
	name := l.Name
	if name == "" {
		name = danglingPrefix + target.Digest.String()
	}
	if l.Name == "" {
		if known, err := r.Image(ctx, img.ID); err == nil && known.Target == img.Target {
			return l, nil // it has a name, or is kept without one, already
		}
	}
	return l, r.setName(ctx, name, target, asked)
}

// loadable picks the platform of an archive's image: the one asked for, or the
// host's, or, without that, its first; "" stands for the host's. ErrNotFound.
func loadable(ctx context.Context, store content.Store, target ocispec.Descriptor, asked string) (platforms.MatchComparer, string, error) {
	matcher, err := platform(asked)
	if err != nil {
		return nil, "", err
	}
	offered, err := images.Platforms(ctx, store, target)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, "", fmt.Errorf("image %q of the archive: %w", target.Digest, err)
	}
	offered = slices.DeleteFunc(offered, func(p ocispec.Platform) bool { return p.OS == "unknown" })
	if len(offered) == 0 || slices.ContainsFunc(offered, matcher.Match) {
		return matcher, asked, nil
	}
	if asked != "" {
		return nil, "", fmt.Errorf("requested platform (%s) was not found in image %q of the archive: %w", asked, cmp.Or(FamiliarName(archiveName(target.Annotations)), target.Digest.String()), errdefs.ErrNotFound)
	}
	return platforms.Only(offered[0]), platforms.Format(offered[0]), nil
}

// isAttestation recognises what BuildKit puts beside images.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
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
