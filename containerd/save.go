package containerd

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/distribution/reference"
)

// Saved is an image to be saved, with those of its names that the archive has.
type Saved struct {
	Image *Image
	Names []string // complete references
}

// Save writes images as docker save does: an OCI archive (oci-layout,
// index.json) that also has Docker's manifest.json and repositories.
func (r *Runtime) Save(ctx context.Context, to io.Writer, list []Saved) error {
	ctx = r.with(ctx)
	var opts []archive.ExportOpt
	for _, s := range list {
		target := s.Image.descriptor
		target.Annotations = nil // what another archive said of it
		opts = append(opts, archive.WithManifest(target, s.Names...))
	}
	if err := writeRepositories(to, list); err != nil {
		return fmt.Errorf("saving images: %w", err)
	}
	if err := archive.Export(ctx, r.client.ContentStore(), to, opts...); err != nil {
		return fmt.Errorf("saving images: %w", err)
	}
	return nil
}

// writeRepositories writes the archive's first file, in which clients older
// than manifest.json look for names: {"repository": {"tag": "top layer"}}.
func writeRepositories(to io.Writer, list []Saved) error {
	repositories := map[string]map[string]string{}
	for _, s := range list {
		layers := s.Image.manifest.Layers
		for _, name := range s.Names {
			named, err := reference.ParseNormalizedNamed(name)
			tagged, ok := named.(reference.Tagged)
			if err != nil || !ok || len(layers) == 0 {
				continue
			}
			repo := reference.FamiliarName(named)
			if repositories[repo] == nil {
				repositories[repo] = map[string]string{}
			}
			repositories[repo][tagged.Tag()] = layers[len(layers)-1].Digest.Encoded()
		}
	}
	if len(repositories) == 0 {
		return nil
	}
	b, err := json.Marshal(repositories)
	if err != nil {
		return err
	}
	w := tar.NewWriter(to)
	if err := w.WriteHeader(&tar.Header{Name: "repositories", Mode: 0o644, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return w.Flush() // not closed: the export's entries follow
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
			names := slices.DeleteFunc(slices.Clone(img.Names), func(n string) bool {
				other, err := reference.ParseNormalizedNamed(n)
				return err != nil || other.Name() != named.Name()
			})
			if len(names) > 0 {
				out = append(out, Saved{img, names})
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
		return []Saved{{img, []string{name}}}, nil
	}
	return []Saved{{img, nil}}, nil
}
