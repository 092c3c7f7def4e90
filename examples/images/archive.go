package main

import (
	"archive/tar"
	"bytes"
	_ "crypto/sha256" // the digest package finds it by registration
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// writeArchive packs one layer and the recipe's configuration as an OCI
// archive. It appears at path only when it is whole.
func writeArchive(path, layer string, r recipe) (err error) {
	f, err := os.CreateTemp(".", ".image-*")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	tw := tar.NewWriter(f)
	layerDesc, err := addLayer(tw, layer)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	img := ocispec.Image{
		Created: &now, Platform: ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}, Config: r.Config,
		RootFS:  ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDesc.Digest}},
		History: []ocispec.History{{Created: &now, CreatedBy: "examples/images"}},
	}
	config, err := addJSON(tw, ocispec.MediaTypeImageConfig, img)
	if err != nil {
		return err
	}
	manifest, err := addJSON(tw, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layerDesc},
	})
	if err != nil {
		return err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, ref := range sortedRefs(r) {
		named, err := reference.ParseDockerRef(ref)
		if err != nil {
			return fmt.Errorf("reference %q: %w", ref, err)
		}
		d := manifest
		d.Platform = &img.Platform
		d.Annotations = map[string]string{"io.containerd.image.name": named.String()}
		index.Manifests = append(index.Manifests, d)
	}
	return errors.Join(
		addFile(tw, ocispec.ImageIndexFile, index),
		addFile(tw, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
		tw.Close(),
	)
}

func addLayer(tw *tar.Writer, path string) (ocispec.Descriptor, error) {
	f, err := os.Open(path)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer f.Close()
	d := digest.Canonical.Digester()
	size, err := io.Copy(d.Hash(), f)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d.Digest(), Size: size}
	return desc, add(tw, blobPath(desc.Digest), f, size)
}

func addJSON(tw *tar.Writer, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, add(tw, blobPath(d.Digest), bytes.NewReader(b), d.Size)
}

func addFile(tw *tar.Writer, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return add(tw, name, bytes.NewReader(b), int64(len(b)))
}

func add(tw *tar.Writer, name string, r io.Reader, size int64) error {
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(tw, r)
	return err
}

func blobPath(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }
