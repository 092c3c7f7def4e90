package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	ctdcompression "github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/go-archive/compression"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportOptions says what image is made of a file system's archive.
type ImportOptions struct {
	Reference string // the new image's name, "" for none
	Platform  string // what it says it runs on, the host's when empty
	Comment   string // for its history
	Config    imagespec.DockerOCIImageConfig
}

// Import makes an image of one layer from a tar archive, plain or compressed
// with gzip, bzip2, xz or zstd. Returns its ID.
func (r *Runtime) Import(ctx context.Context, from io.Reader, o ImportOptions) (string, error) {
	ctx = r.with(ctx)
	name := ""
	if o.Reference != "" {
		var err error
		if name, err = NormalizeReference(o.Reference); err != nil {
			return "", err
		}
	}
	on := platforms.DefaultSpec()
	if o.Platform != "" {
		var err error
		if on, err = platforms.Parse(o.Platform); err != nil {
			return "", fmt.Errorf("platform %q: %w: %w", o.Platform, err, errdefs.ErrInvalidArgument)
		}
	}
	ctx, done, err := r.lease(ctx, "")
	if err != nil {
		return "", err
	}
	defer r.garbage.request() // what a failure leaves
	defer done()
	layer, diffID, err := r.writeLayer(ctx, from)
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	now := time.Now().UTC()
	config := imagespec.DockerOCIImage{Config: o.Config}
	config.Created = &now
	config.Platform = ocispec.Platform{OS: on.OS, Architecture: on.Architecture, Variant: on.Variant}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}}
	config.History = []ocispec.History{{Created: &now, Comment: o.Comment}}
	b, err := json.Marshal(config)
	if err != nil {
		return "", err
	}
	target, err := r.writeImage(ctx, b, []ocispec.Descriptor{layer})
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	if name == "" {
		name = danglingPrefix + target.Digest.String()
	}
	return digest.FromBytes(b).String(), r.setName(ctx, name, target)
}

// writeLayer stores a tar archive as a layer.
func (r *Runtime) writeLayer(ctx context.Context, from io.Reader) (layer ocispec.Descriptor, diffID digest.Digest, err error) {
	plain, err := compression.DecompressStream(from)
	if err != nil {
		return layer, "", err
	}
	defer plain.Close()
	w, err := content.OpenWriter(ctx, r.client.ContentStore(), content.WithRef(fmt.Sprintf("import-%d", time.Now().UnixNano())))
	if err != nil {
		return layer, "", err
	}
	defer w.Close()
	gz, err := ctdcompression.CompressStream(w, ctdcompression.Gzip)
	if err != nil {
		return layer, "", err
	}
	sum := digest.Canonical.Digester()
	_, err = io.Copy(io.MultiWriter(gz, sum.Hash()), plain)
	if cerr := gz.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return layer, "", err
	}
	status, err := w.Status()
	if err != nil {
		return layer, "", err
	}
	layer = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: w.Digest(), Size: status.Offset}
	err = w.Commit(ctx, layer.Size, layer.Digest, content.WithLabels(map[string]string{labels.LabelUncompressed: sum.Digest().String()}))
	if errdefs.IsAlreadyExists(err) {
		err = nil
	}
	return layer, sum.Digest(), err
}

// writeImage stores an image's configuration and manifest and unpacks it.
func (r *Runtime) writeImage(ctx context.Context, config []byte, layers []ocispec.Descriptor) (target ocispec.Descriptor, err error) {
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    descriptor(ocispec.MediaTypeImageConfig, config),
		Layers:    layers,
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		return target, err
	}
	target = descriptor(ocispec.MediaTypeImageManifest, b)
	for desc, blob := range map[*ocispec.Descriptor][]byte{&manifest.Config: config, &target: b} {
		if err := content.WriteBlob(ctx, r.client.ContentStore(), "image-"+desc.Digest.String(), bytes.NewReader(blob), *desc); err != nil {
			return target, err
		}
	}
	here := images.HandlerFunc(func(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) { return nil, nil })
	return target, r.walk(ctx, target, platforms.All, here, nil)
}
