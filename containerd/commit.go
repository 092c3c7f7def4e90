package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/errdefs"
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CommitOptions says what image is made of a container.
type CommitOptions struct {
	ContainerID string
	Image       string // ID or name of the image that the container was made from
	Reference   string // the new image's name, "" for none
	Author      string
	Comment     string
	CreatedBy   string                          // what changed the file system, for the history
	Config      *imagespec.DockerOCIImageConfig // the new image's, nil for that of Image
}

// Commit makes an image: that of the container and one more layer with what
// the container changed. Returns its ID.
func (r *Runtime) Commit(ctx context.Context, o CommitOptions) (string, error) {
	ctx = r.with(ctx)
	name := ""
	if o.Reference != "" {
		var err error
		if name, err = NormalizeReference(o.Reference); err != nil {
			return "", err
		}
	}
	base, err := r.Image(ctx, o.Image)
	if err != nil {
		return "", fmt.Errorf("committing container %q: %w", o.ContainerID, err)
	}
	ctx, done, err := r.lease(ctx, "")
	if err != nil {
		return "", err
	}
	defer r.garbage.request() // what a failure leaves
	defer done()
	target, id, err := r.commit(ctx, o, base)
	if err != nil {
		return "", fmt.Errorf("committing container %q: %w", o.ContainerID, err)
	}
	if name == "" {
		name = danglingPrefix + target.Digest.String()
	}
	return id, r.setName(ctx, name, target)
}

func (r *Runtime) commit(ctx context.Context, o CommitOptions, base *Image) (target ocispec.Descriptor, id string, err error) {
	info, err := r.snapshots().Stat(ctx, o.ContainerID)
	if err != nil {
		return target, "", err
	}
	if info.Parent != base.ChainID {
		return target, "", fmt.Errorf("it was not made from image %q: %w", o.Image, errdefs.ErrInvalidArgument)
	}
	layer, diffID, err := r.changes(ctx, o.ContainerID)
	if err != nil {
		return target, "", err
	}
	old, err := content.ReadBlob(ctx, r.client.ContentStore(), base.manifest.Config)
	if err != nil {
		return target, "", err
	}
	config, err := extend(old, o, diffID, time.Now().UTC())
	if err != nil {
		return target, "", err
	}
	var layers []ocispec.Descriptor
	for _, l := range base.manifest.Layers {
		l.MediaType = ociLayer(l.MediaType)
		layers = append(layers, l)
	}
	target, err = r.writeImage(ctx, config, append(layers, layer))
	return target, digest.FromBytes(config).String(), err
}

// changes writes what a container changed as a layer.
func (r *Runtime) changes(ctx context.Context, key string) (layer ocispec.Descriptor, diffID digest.Digest, err error) {
	differ := walking.NewWalkingDiff(r.client.ContentStore())
	layer, err = rootfs.CreateDiff(ctx, key, r.snapshots(), differ, diff.WithMediaType(ocispec.MediaTypeImageLayerGzip), diff.WithCompressor(compressor))
	if err != nil {
		return layer, "", fmt.Errorf("its changes: %w", err)
	}
	diffID, err = images.GetDiffID(ctx, r.client.ContentStore(), layer)
	return layer, diffID, err
}

// extend makes the new image's configuration of the old one's; what it has
// that we do not know stays.
func extend(old []byte, o CommitOptions, diffID digest.Digest, now time.Time) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(old, &fields); err != nil {
		return nil, fmt.Errorf("configuration of image %q: %w", o.Image, err)
	}
	var img imagespec.DockerOCIImage
	if err := json.Unmarshal(old, &img); err != nil {
		return nil, fmt.Errorf("configuration of image %q: %w", o.Image, err)
	}
	img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, diffID)
	img.History = append(img.History, ocispec.History{Created: &now, CreatedBy: o.CreatedBy, Author: o.Author, Comment: o.Comment})
	changed := map[string]any{"created": now, "rootfs": img.RootFS, "history": img.History}
	if o.Config != nil {
		changed["config"] = o.Config
	}
	if delete(fields, "author"); o.Author != "" { // not that of the image below
		changed["author"] = o.Author
	}
	for k, v := range changed {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		fields[k] = b
	}
	delete(fields, "id") // of the container that made it, in old Docker images
	delete(fields, "container")
	delete(fields, "container_config")
	return json.Marshal(fields)
}

// Manifest describes the manifest of the platform that the image is for.
func (img *Image) Manifest() ocispec.Descriptor {
	d := img.descriptor
	if d.Platform == nil {
		d.Platform = &ocispec.Platform{Architecture: img.Architecture, OS: img.OS, Variant: img.Variant}
	}
	return d
}

func descriptor(mediaType string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

// ociLayer is the OCI name of a layer's media type: a manifest should not mix
// them with Docker's.
func ociLayer(mediaType string) string {
	switch mediaType {
	case images.MediaTypeDockerSchema2Layer:
		return ocispec.MediaTypeImageLayer
	case images.MediaTypeDockerSchema2LayerGzip:
		return ocispec.MediaTypeImageLayerGzip
	case images.MediaTypeDockerSchema2LayerZstd:
		return ocispec.MediaTypeImageLayerZstd
	}
	return mediaType
}
