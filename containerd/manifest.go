package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxNesting is how deep indexes may name indexes.
const maxNesting = 4

// What BuildKit writes beside images. Source: buildkit, docs/attestations.
const (
	annotationKind     = "vnd.docker.reference.type"
	annotationDescribe = "vnd.docker.reference.digest"
)

// parse reads what a name points to. ErrNotFound when no platform of it is
// here whole.
func (r *Runtime) parse(ctx context.Context, rec images.Image) (*target, error) {
	list, err := r.manifests(ctx, r.client.ContentStore(), rec.Target, 0)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", rec.Name, err)
	}
	t := &target{desc: rec.Target}
	index := images.IsIndexType(rec.Target.MediaType)
	if index {
		t.beside = append(t.beside, blobPart(rec.Target))
	}
	for _, d := range list {
		if isAttestation(d) {
			parts, err := r.attestationParts(ctx, d)
			if err != nil {
				return nil, fmt.Errorf("image %q: %w", rec.Name, err)
			}
			t.beside = append(t.beside, parts...)
			continue
		}
		img, err := r.onePlatform(ctx, d, index)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("image %q: %w", rec.Name, err)
		}
		t.here = append(t.here, img)
	}
	if len(t.here) == 0 {
		return nil, fmt.Errorf("image %q: no platform of it is here: %w", rec.Name, errdefs.ErrNotFound)
	}
	sortForHost(t.here)
	return t, nil
}

// sortForHost puts the image first that the host runs best.
func sortForHost(list []*Image) {
	host := platforms.Default()
	slices.SortStableFunc(list, func(a, b *Image) int {
		switch {
		case host.Less(a.Platform(), b.Platform()):
			return -1
		case host.Less(b.Platform(), a.Platform()):
			return 1
		}
		return 0
	})
}

// manifests are what an index names, indexes in it taken apart; or a manifest
// itself. ErrNotFound when an index is not here.
func (r *Runtime) manifests(ctx context.Context, store content.Provider, d ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	if !images.IsIndexType(d.MediaType) {
		return []ocispec.Descriptor{d}, nil
	}
	if list := r.parsed.index(d.Digest.String()); list != nil {
		return list, nil
	}
	b, err := content.ReadBlob(ctx, store, d)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	var out []ocispec.Descriptor
	nested := false
	for _, m := range index.Manifests {
		if !images.IsIndexType(m.MediaType) {
			out = append(out, m)
			continue
		}
		nested = true
		if depth == maxNesting {
			return nil, fmt.Errorf("index %s: indexes name indexes more than %d times: %w", d.Digest, maxNesting, errdefs.ErrInvalidArgument)
		}
		inner, err := r.manifests(ctx, store, m, depth+1)
		if err != nil && !errdefs.IsNotFound(err) {
			return nil, err
		}
		out = append(out, inner...)
	}
	if !nested { // else what is here of it may change
		r.parsed.keepIndex(d.Digest.String(), out)
	}
	return out, nil
}

// onePlatform reads the image of one manifest, once. ErrNotFound when it is not
// here, or is none. One of an index must be here whole and be kept: of an
// interrupted pull there may be a part.
func (r *Runtime) onePlatform(ctx context.Context, d ocispec.Descriptor, ofIndex bool) (*Image, error) {
	if img := r.parsed.manifest(d.Digest.String()); img != nil {
		return img, nil
	}
	store := r.client.ContentStore()
	info, err := store.Info(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	img, err := readImage(ctx, store, d)
	if err != nil {
		return nil, err
	}
	if ofIndex {
		if !keeps(info.Labels, img.manifest.Config.Digest) {
			return nil, fmt.Errorf("manifest %s does not keep its content: %w", d.Digest, errdefs.ErrNotFound)
		}
		for _, l := range img.manifest.Layers {
			if _, err := store.Info(ctx, l.Digest); err != nil {
				return nil, err
			}
		}
	}
	if err := r.measure(ctx, img); err != nil {
		return img, nil // not unpacked yet: right for now, but not to be kept
	}
	r.parsed.keepManifest(d.Digest.String(), img)
	return img, nil
}

// keeps tells whether the labels of a manifest hold its content for the
// garbage collection.
func keeps(labels map[string]string, child digest.Digest) bool {
	for k, v := range labels {
		if strings.HasPrefix(k, "containerd.io/gc.ref.content") && v == child.String() {
			return true
		}
	}
	return false
}

func readImage(ctx context.Context, store content.Store, d ocispec.Descriptor) (*Image, error) {
	b, err := content.ReadBlob(ctx, store, d)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	img := &Image{descriptor: d}
	if err := json.Unmarshal(b, &img.manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if !images.IsConfigType(img.manifest.Config.MediaType) {
		return nil, fmt.Errorf("manifest %s is of %q, which is not an image: %w", d.Digest, img.manifest.Config.MediaType, errdefs.ErrNotFound)
	}
	if b, err = content.ReadBlob(ctx, store, img.manifest.Config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var config imagespec.DockerOCIImage
	if err := json.Unmarshal(b, &config); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", img.manifest.Config.Digest, err)
	}
	if config.OS == unknown && config.Architecture == unknown {
		return nil, fmt.Errorf("manifest %s is an attestation, not an image: %w", d.Digest, errdefs.ErrNotFound)
	}
	img.ID = img.manifest.Config.Digest.String()
	img.Target, img.Descriptor = d.Digest.String(), d
	img.Config, img.History, img.Author = config.Config, config.History, config.Author
	img.Architecture, img.Variant, img.OS, img.OSVersion = config.Architecture, config.Variant, config.OS, config.OSVersion
	if config.Created != nil {
		img.Created = *config.Created
	}
	for _, d := range config.RootFS.DiffIDs {
		img.DiffIDs = append(img.DiffIDs, d.String())
	}
	img.ChainID = identity.ChainID(config.RootFS.DiffIDs).String()
	return img, nil
}

const unknown = "unknown"

// isAttestation recognises what BuildKit puts beside images.
func isAttestation(d ocispec.Descriptor) bool {
	return d.Annotations[annotationKind] != "" || d.Platform != nil && d.Platform.OS == unknown && d.Platform.Architecture == unknown
}

func (r *Runtime) attestationParts(ctx context.Context, d ocispec.Descriptor) ([]Part, error) {
	store := r.client.ContentStore()
	if _, err := store.Info(ctx, d.Digest); errdefs.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	made, err := children(ctx, store, d)
	if err != nil {
		return nil, err
	}
	parts := []Part{blobPart(d)}
	for _, c := range made {
		if _, err := store.Info(ctx, c.Digest); err == nil {
			parts = append(parts, blobPart(c))
		} else if !errdefs.IsNotFound(err) {
			return nil, err
		}
	}
	return parts, nil
}

func blobPart(d ocispec.Descriptor) Part { return Part{"blob " + d.Digest.String(), d.Size} }

// measure fills in what an image takes on the disk for one platform.
// ErrNotFound when it is not unpacked yet.
func (r *Runtime) measure(ctx context.Context, img *Image) error {
	parts := partSet{}
	parts.add([]Part{blobPart(img.descriptor), blobPart(img.manifest.Config)})
	for _, l := range img.manifest.Layers {
		parts.add([]Part{blobPart(l)})
	}
	defer func() { img.Parts, img.Size = parts.list, parts.size }()
	layers, err := r.layerParts(ctx, img.ChainID)
	if err != nil {
		return err
	}
	parts.add(layers)
	for _, l := range layers {
		img.Layers = append(img.Layers, l.Size)
		img.Unpacked += l.Size
	}
	return nil
}

// StoreSize is what all images take on the disk, parts of images included.
func (r *Runtime) StoreSize(ctx context.Context) (total int64, err error) {
	ctx = r.with(ctx)
	err = r.client.ContentStore().Walk(ctx, func(i content.Info) error {
		total += i.Size
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("size of the content store: %w", err)
	}
	var layers []string
	err = r.snapshots().Walk(ctx, func(_ context.Context, i snapshots.Info) error {
		if i.Kind == snapshots.KindCommitted {
			layers = append(layers, i.Name)
		}
		return nil
	})
	for _, key := range layers {
		u, uerr := r.snapshots().Usage(ctx, key)
		if uerr != nil && !errdefs.IsNotFound(uerr) { // not one that goes just now
			err = uerr
		}
		total += u.Size
	}
	if err != nil {
		return 0, fmt.Errorf("size of the unpacked layers: %w", err)
	}
	return total, nil
}
