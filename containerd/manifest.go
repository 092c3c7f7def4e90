package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

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

// parse reads an image's manifest and configuration, once. ErrNotFound when
// they are not there.
func (r *Runtime) parse(ctx context.Context, rec images.Image) (*Image, error) {
	key := rec.Target.Digest.String() + " " + rec.Labels[labelPlatform]
	if img := r.parsed.content(key); img != nil {
		return img, nil
	}
	img, err := readImage(ctx, r.client.ContentStore(), rec.Target, rec.Labels[labelPlatform])
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", rec.Name, err)
	}
	if err := r.measure(ctx, img); err != nil {
		return img, nil // not unpacked yet: right for now, but not to be kept
	}
	r.parsed.keepContent(key, img)
	return img, nil
}

func readImage(ctx context.Context, store content.Store, target ocispec.Descriptor, platform string) (*Image, error) {
	matcher := platforms.Default()
	if platform != "" {
		p, err := platforms.Parse(platform)
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w", platform, err)
		}
		matcher = platforms.Only(p)
	}
	manifest, descriptor, err := readManifest(ctx, store, target, matcher)
	if err != nil {
		return nil, err
	}
	b, err := content.ReadBlob(ctx, store, manifest.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	var config imagespec.DockerOCIImage
	if err := json.Unmarshal(b, &config); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", manifest.Config.Digest, err)
	}
	img := &Image{
		ID:           manifest.Config.Digest.String(),
		Target:       target.Digest.String(),
		Config:       config.Config,
		History:      config.History,
		Architecture: config.Architecture,
		Variant:      config.Variant,
		OS:           config.OS,
		OSVersion:    config.OSVersion,
		Author:       config.Author,
		manifest:     manifest,
		descriptor:   descriptor,
		Descriptor:   target,
		asked:        platform,
	}
	if config.Created != nil {
		img.Created = *config.Created
	}
	for _, d := range config.RootFS.DiffIDs {
		img.DiffIDs = append(img.DiffIDs, d.String())
	}
	img.ChainID = identity.ChainID(config.RootFS.DiffIDs).String()
	return img, nil
}

// readManifest finds, of the manifests that are present, the one that suits
// the platform best; any, if none does.
func readManifest(ctx context.Context, store content.Store, target ocispec.Descriptor, matcher platforms.MatchComparer) (ocispec.Manifest, ocispec.Descriptor, error) {
	var manifest ocispec.Manifest
	b, err := content.ReadBlob(ctx, store, target)
	if err != nil {
		return manifest, target, fmt.Errorf("manifest: %w", err)
	}
	if !images.IsIndexType(target.MediaType) {
		if err := json.Unmarshal(b, &manifest); err != nil {
			return manifest, target, fmt.Errorf("manifest %s: %w", target.Digest, err)
		}
		if !images.IsConfigType(manifest.Config.MediaType) {
			return manifest, target, fmt.Errorf("manifest %s is of %q, which is not an image: %w", target.Digest, manifest.Config.MediaType, errdefs.ErrNotFound)
		}
		_, err := store.Info(ctx, manifest.Config.Digest)
		return manifest, target, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return manifest, target, fmt.Errorf("index %s: %w", target.Digest, err)
	}
	slices.SortStableFunc(index.Manifests, func(a, b ocispec.Descriptor) int {
		switch {
		case less(matcher, a, b):
			return -1
		case less(matcher, b, a):
			return 1
		}
		return 0
	})
	for _, d := range index.Manifests {
		manifest, descriptor, err := readManifest(ctx, store, d, matcher)
		if err == nil || !errdefs.IsNotFound(err) {
			return manifest, descriptor, err
		}
	}
	return manifest, target, fmt.Errorf("no manifest of index %s is here: %w", target.Digest, errdefs.ErrNotFound)
}

func less(m platforms.MatchComparer, a, b ocispec.Descriptor) bool {
	if a.Platform == nil || b.Platform == nil {
		return a.Platform != nil
	}
	return m.Less(*a.Platform, *b.Platform)
}

// measure fills in what an image takes on the disk. ErrNotFound when it is not
// unpacked yet.
func (r *Runtime) measure(ctx context.Context, img *Image) error {
	blobs := append([]ocispec.Descriptor{img.Descriptor, img.descriptor, img.manifest.Config}, img.manifest.Layers...)
	if img.Descriptor.Digest == img.descriptor.Digest {
		blobs = blobs[1:]
	}
	for _, b := range blobs {
		img.Parts = append(img.Parts, Part{"blob " + b.Digest.String(), b.Size})
		img.Size += b.Size
	}
	diffs := make([]digest.Digest, len(img.DiffIDs))
	for i, d := range img.DiffIDs {
		diffs[i] = digest.Digest(d)
	}
	for _, key := range identity.ChainIDs(diffs) {
		u, err := r.snapshots().Usage(ctx, key.String())
		if err != nil {
			return err
		}
		img.Layers = append(img.Layers, u.Size)
		img.Parts = append(img.Parts, Part{"layer " + key.String(), u.Size})
		img.Unpacked += u.Size
	}
	img.Size += img.Unpacked
	return nil
}

// Variant is one manifest of an image: for a platform, or what was put beside one.
type Variant struct {
	Descriptor ocispec.Descriptor
	Own        bool   // the one that the Image is
	Available  bool   // all of it is here
	Content    int64  // bytes of its blobs that are here
	Unpacked   int64  // bytes of its unpacked layers
	Describes  string // digest of the manifest that it is an attestation of, "" for an image
}

// Variants lists the manifests of an image, those that are not here included.
func (r *Runtime) Variants(ctx context.Context, img *Image) ([]Variant, error) {
	ctx = r.with(ctx)
	store := r.client.ContentStore()
	list := []ocispec.Descriptor{img.descriptor}
	if images.IsIndexType(img.Descriptor.MediaType) {
		var index ocispec.Index
		b, err := content.ReadBlob(ctx, store, img.Descriptor)
		if err == nil {
			err = json.Unmarshal(b, &index)
		}
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", img.Descriptor.Digest, err)
		}
		list = index.Manifests
	}
	out := make([]Variant, 0, len(list))
	for _, d := range list {
		v := Variant{Descriptor: d, Describes: d.Annotations["vnd.docker.reference.digest"]}
		if d.Digest == img.descriptor.Digest {
			v.Own, v.Unpacked = true, img.Unpacked
			v.Descriptor.Platform = &ocispec.Platform{OS: img.OS, Architecture: img.Architecture, Variant: img.Variant}
		}
		var err error
		if v.Available, v.Content, err = present(ctx, store, d); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// present tells whether a manifest and all that it names are here, and the
// bytes of what is.
func present(ctx context.Context, store content.Store, d ocispec.Descriptor) (all bool, size int64, err error) {
	if _, err := store.Info(ctx, d.Digest); errdefs.IsNotFound(err) {
		return false, 0, nil
	} else if err != nil {
		return false, 0, err
	}
	children, err := images.Children(ctx, store, d)
	if err != nil {
		return false, 0, err
	}
	all, size = true, d.Size
	for _, c := range children {
		if info, err := store.Info(ctx, c.Digest); err == nil {
			size += info.Size
		} else if errdefs.IsNotFound(err) {
			all = false
		} else {
			return false, 0, err
		}
	}
	return all, size, nil
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
