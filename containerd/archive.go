package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Loaded is one image that Load found.
type Loaded struct {
	Name string // complete reference, "" when the archive has none for it
	ID   string
}

// Load reads an archive as docker save, skopeo or buildah write it (Docker's
// or OCI's format, plain or compressed with gzip or zstd), and unpacks its
// images.
func (r *Runtime) Load(ctx context.Context, from io.Reader, progress func(Progress)) ([]Loaded, error) {
	ctx, done, err := r.lease(r.with(ctx), "")
	if err != nil {
		return nil, err
	}
	defer done()
	index, err := r.importArchive(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	var out []Loaded
	for _, m := range index.Manifests {
		if isAttestation(m) {
			continue
		}
		l, err := r.loadOne(ctx, m, progress)
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
func (r *Runtime) importArchive(ctx context.Context, from io.Reader) (index ocispec.Index, err error) {
	stream, err := compression.DecompressStream(from)
	if err != nil {
		return index, err
	}
	defer stream.Close()
	// Blobs are stored under their names in the archive until they are whole:
	// two archives with the same names would be in each other's way.
	r.loading.Lock()
	desc, err := archive.ImportIndex(ctx, r.client.ContentStore(), stream)
	r.loading.Unlock()
	if err != nil {
		return index, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	b, err := content.ReadBlob(ctx, r.client.ContentStore(), desc)
	if err != nil {
		return index, err
	}
	return index, json.Unmarshal(b, &index)
}

func (r *Runtime) loadOne(ctx context.Context, target ocispec.Descriptor, progress report) (Loaded, error) {
	here := images.HandlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { return nil, nil })
	matcher := platforms.Default()
	if err := r.walk(ctx, target, matcher, here, progress); err != nil {
		return Loaded{}, fmt.Errorf("image %q of the archive: %w", target.Digest, err)
	}
	l := Loaded{Name: archiveName(target.Annotations)}
	name := l.Name
	if name == "" {
		name = danglingPrefix + target.Digest.String()
	}
	img, err := readImage(ctx, r.client.ContentStore(), target, "")
	if err != nil {
		return l, fmt.Errorf("image %q of the archive: %w", target.Digest, err)
	}
	l.ID = img.ID
	if l.Name == "" {
		if known, err := r.Image(ctx, img.ID); err == nil && known.Target == img.Target {
			return l, nil // it has a name, or is kept without one, already
		}
	}
	return l, r.setName(ctx, name, target, "")
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

// Save writes images as docker save does: an OCI archive that also has
// Docker's manifest.json. Images that are given by ID are saved without names.
func (r *Runtime) Save(ctx context.Context, to io.Writer, refs []string) error {
	ctx = r.with(ctx)
	store := r.client.ContentStore()
	var opts []archive.ExportOpt
	for _, ref := range refs {
		img, err := r.Image(ctx, ref)
		if err != nil {
			return err
		}
		var names []string
		if name, err := NormalizeReference(ref); err == nil && slices.Contains(img.Names, name) {
			names = []string{name}
		}
		opts = append(opts, archive.WithManifest(img.descriptor, names...))
	}
	if err := archive.Export(ctx, store, to, opts...); err != nil {
		return fmt.Errorf("saving images %q: %w", refs, err)
	}
	return nil
}
