package containerd

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Saved is an image to be saved, with those of its names that the archive has.
type Saved struct {
	Image *Image
	Names []string // complete references
	Only  []*Image // of the image's Platforms; all that are here when empty
}

// one is the platform whose manifest is saved in place of an index, if any.
func (s Saved) one() *Image {
	switch {
	case len(s.Only) == 1:
		return s.Only[0]
	case len(s.Image.Platforms) == 0:
		return s.Image
	}
	return nil
}

// Save writes images as docker save does: an OCI archive (oci-layout,
// index.json) that also has Docker's manifest.json and repositories. An index
// is saved as it is, with those of its platforms that are here or asked for;
// when one is asked for, that one's manifest takes its place.
func (r *Runtime) Save(ctx context.Context, to io.Writer, list []Saved) error {
	ctx = r.with(ctx)
	store := without{r.client.ContentStore(), map[digest.Digest]bool{}}
	opts := []archive.ExportOpt{archive.WithSkipDockerManifest(), archive.WithSkipMissing(store)}
	kept := map[digest.Digest]bool{}
	list = slices.Clone(list)
	for i, s := range list {
		target := s.Image.Descriptor
		if one := s.one(); one != nil {
			list[i].Only, target = []*Image{one}, one.descriptor
		} else if len(s.Only) == 0 {
			list[i].Only = s.Image.Platforms
		}
		list[i].Only = slices.Clone(list[i].Only)
		sortForHost(list[i].Only)
		for _, img := range list[i].Only {
			all, _, err := present(ctx, store, img.descriptor)
			if err == nil && !all {
				err = fmt.Errorf("not all of it is here: %w", errdefs.ErrFailedPrecondition)
			}
			if err != nil {
				return fmt.Errorf("saving image %q: %w", img.ID, err)
			}
			kept[img.descriptor.Digest] = true
		}
		target.Annotations = nil // what another archive said of it
		opts = append(opts, archive.WithManifest(target, s.Names...))
	}
	for _, s := range list {
		variants, err := r.Variants(ctx, s.Image)
		if err != nil {
			return fmt.Errorf("saving images: %w", err)
		}
		for _, v := range variants {
			described := v.Attestation && kept[digest.Digest(v.Describes)]
			store.hidden[v.Descriptor.Digest] = !kept[v.Descriptor.Digest] && !described
		}
	}
	if err := writeDockerFiles(to, list); err != nil {
		return fmt.Errorf("saving images: %w", err)
	}
	if err := archive.Export(ctx, store, to, opts...); err != nil {
		return fmt.Errorf("saving images: %w", err)
	}
	return nil
}

// without is a content store in which some manifests are not seen.
type without struct {
	content.Store
	hidden map[digest.Digest]bool
}

func (w without) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	if w.hidden[d] {
		return content.Info{}, errdefs.ErrNotFound
	}
	return w.Store.Info(ctx, d)
}

func (w without) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	if w.hidden[d.Digest] {
		return nil, errdefs.ErrNotFound
	}
	return w.Store.ReaderAt(ctx, d)
}

// dockerManifest is an image in manifest.json. Source: docker image spec, v1.2.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string // lowest first
}

// writeDockerFiles writes the archive's first files: manifest.json, and
// repositories, in which clients older than that look for names: {"repository":
// {"tag": "top layer"}}. They know one platform of each image.
func writeDockerFiles(to io.Writer, list []Saved) error {
	var manifests []*dockerManifest
	byID, repositories := map[string]*dockerManifest{}, map[string]map[string]string{}
	for _, s := range list {
		img := s.Only[0]
		m := byID[img.ID]
		if m == nil {
			m = &dockerManifest{Config: blobPath(img.manifest.Config), Layers: []string{}}
			for _, l := range img.manifest.Layers {
				m.Layers = append(m.Layers, blobPath(l))
			}
			byID[img.ID], manifests = m, append(manifests, m)
		}
		for _, name := range s.Names {
			named, err := reference.ParseNormalizedNamed(name)
			tagged, ok := named.(reference.Tagged)
			if err != nil || !ok {
				continue
			}
			m.RepoTags = append(m.RepoTags, reference.FamiliarString(named))
			if len(m.Layers) == 0 {
				continue
			}
			repo := reference.FamiliarName(named)
			if repositories[repo] == nil {
				repositories[repo] = map[string]string{}
			}
			repositories[repo][tagged.Tag()] = path.Base(m.Layers[len(m.Layers)-1])
		}
	}
	w := tar.NewWriter(to)
	if len(repositories) > 0 {
		if err := writeDocument(w, "repositories", repositories); err != nil {
			return err
		}
	}
	if err := writeDocument(w, "manifest.json", manifests); err != nil {
		return err
	}
	return w.Flush() // not closed: the export's entries follow
}

func writeDocument(w *tar.Writer, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func blobPath(d ocispec.Descriptor) string {
	return path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
}

// FindSaved finds what a name given to save means: an image of that name, all
// names of a repository that is given without a tag, or, for an ID, an image
// without names. ErrNotFound.
func (r *Runtime) FindSaved(ctx context.Context, ref string) ([]Saved, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err == nil && reference.IsNameOnly(named) {
		all, err := r.Images(ctx)
		if err != nil {
			return nil, err
		}
		var out []Saved
		for _, img := range all {
			for _, n := range img.Names {
				other, err := reference.ParseNormalizedNamed(n)
				if err != nil || other.Name() != named.Name() {
					continue
				}
				stands, err := r.Image(ctx, n) // alike, names may stand for different indexes
				if err != nil {
					return nil, err
				}
				i := slices.IndexFunc(out, func(s Saved) bool { return s.Image.Target == stands.Target })
				if i < 0 {
					i, out = len(out), append(out, Saved{Image: stands})
				}
				out[i].Names = append(out[i].Names, n)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	img, err := r.Image(ctx, ref)
	if err != nil {
		return nil, err
	}
	if name, err := NormalizeReference(ref); err == nil && slices.Contains(img.Names, name) {
		return []Saved{{Image: img, Names: []string{name}}}, nil
	}
	return []Saved{{Image: img}}, nil
}
