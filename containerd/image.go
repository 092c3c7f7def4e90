package containerd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// labelPlatform says for which platform an image was asked, when not the host's.
const labelPlatform = "gantry/platform"

// Image is an image that is present, for one platform.
type Image struct {
	ID      string   // digest of its configuration, as Docker has it: sha256:…
	Target  string   // digest of its manifest or index, as registries have it
	Names   []string // complete references, sorted; none for an image that lost its name
	Digests []string // repository@target for each repository of Names, sorted

	Config       imagespec.DockerOCIImageConfig // with Healthcheck, Shell, OnBuild
	DiffIDs      []string                       // digests of the uncompressed layers, lowest first
	ChainID      string                         // key of the snapshot that has all layers
	History      []ocispec.History
	Size         int64 // bytes of the unpacked layers
	Created      time.Time
	Pulled       time.Time // when it last got one of its names: pulled, loaded, committed or tagged
	Architecture string
	Variant      string
	OS           string
	Author       string

	manifest   ocispec.Manifest
	descriptor ocispec.Descriptor // of the manifest
	target     ocispec.Descriptor
	asked      string // the platform it was asked for, "" for the host's
}

// imageCache remembers images until one is named, renamed or removed, and what
// was read of their contents, which never change under their digest, for ever.
// The zero value is empty.
type imageCache struct {
	mu         sync.Mutex
	generation int
	all        []*Image          // nil when not known
	byRef      map[string]*Image // answers to references asked for
	byTarget   map[string]*Image // key: target digest and platform asked for
}

// changed forgets which images there are.
func (c *imageCache) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.all, c.byRef = nil, nil
}

// removed forgets contents too, which may be gone.
func (c *imageCache) removed() {
	c.changed()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byTarget = nil
}

func (c *imageCache) list() (all []*Image, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all, c.generation
}

func (c *imageCache) keep(all []*Image, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == generation {
		c.all = all
	}
}

func (c *imageCache) answer(ref string) *Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byRef[ref]
}

func (c *imageCache) keepAnswer(ref string, img *Image, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return
	}
	if c.byRef == nil {
		c.byRef = map[string]*Image{}
	}
	c.byRef[ref] = img
}

func (c *imageCache) content(key string) *Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byTarget[key]
}

func (c *imageCache) keepContent(key string, img *Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byTarget == nil {
		c.byTarget = map[string]*Image{}
	}
	c.byTarget[key] = img
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
	}
	img.Digests = append(img.Digests, named.Name()+"@"+rec.Target.Digest.String())
}

func (img *Image) complete() {
	slices.Sort(img.Names)
	slices.Sort(img.Digests)
	img.Names, img.Digests = slices.Compact(img.Names), slices.Compact(img.Digests)
}

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
	if img.Size, err = r.unpackedSize(ctx, img); err != nil {
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
		Author:       config.Author,
		manifest:     manifest,
		descriptor:   descriptor,
		target:       target,
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

// unpackedSize adds up the layers' snapshots. ErrNotFound when there are none yet.
func (r *Runtime) unpackedSize(ctx context.Context, img *Image) (int64, error) {
	var total int64
	diffs := make([]digest.Digest, len(img.DiffIDs))
	for i, d := range img.DiffIDs {
		diffs[i] = digest.Digest(d)
	}
	for _, key := range identity.ChainIDs(diffs) {
		u, err := r.snapshots().Usage(ctx, key.String())
		if err != nil {
			return 0, err
		}
		total += u.Size
	}
	return total, nil
}
