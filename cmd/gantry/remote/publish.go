package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Published is a project's content: compose files, merged in order, and the env
// files that they name, by their names.
type Published struct {
	Compose  [][]byte
	EnvFiles map[string][]byte
}

// Publish pushes an artifact as Docker Compose does. version is that of OCI's
// image specification, "1.0" or "1.1"; "" takes the newer one, and the older
// where the registry refuses it.
func (f *Fetcher) Publish(ctx context.Context, name, version string, p Published) (digest.Digest, error) {
	formats := map[string][]oras.PackManifestVersion{
		"": {oras.PackManifestVersion1_1, oras.PackManifestVersion1_0}, "1.0": {oras.PackManifestVersion1_0}, "1.1": {oras.PackManifestVersion1_1},
	}[version]
	if formats == nil {
		return "", fmt.Errorf("--oci-version %q: use 1.0 or 1.1: %w", version, errdefs.ErrInvalidArgument)
	}
	repo, named, err := f.open(name)
	if err != nil {
		return "", fmt.Errorf("%q: %w", name, err)
	}
	tagged, ok := named.(reference.Tagged)
	if !ok {
		return "", fmt.Errorf("%q: what is published needs a tag, not a digest: %w", name, errdefs.ErrInvalidArgument)
	}
	var layers []ocispec.Descriptor
	add := func(kind, annotation, file string, content []byte) error {
		layer := ocispec.Descriptor{MediaType: kind, Digest: digest.FromBytes(content), Size: int64(len(content)), Annotations: map[string]string{annotation: file}}
		layers = append(layers, layer)
		return push(ctx, repo, layer, content)
	}
	for i, content := range p.Compose {
		file := "compose.yaml"
		if i > 0 {
			file = fmt.Sprintf("compose.%d.yaml", i)
		}
		if err := add(composeFile, annotationFile, file, content); err != nil {
			return "", fmt.Errorf("%q: %w", name, err)
		}
	}
	for file, content := range p.EnvFiles {
		if err := add(envFile, annotationEnv, file, content); err != nil {
			return "", fmt.Errorf("%q: %w", name, err)
		}
	}
	for _, format := range formats {
		var manifest ocispec.Descriptor
		if manifest, err = pack(ctx, repo, format, layers); err == nil {
			if err := repo.Tag(ctx, manifest, tagged.Tag()); err != nil {
				return "", fmt.Errorf("%q: %w", name, err)
			}
			return manifest.Digest, nil
		}
		if refused := new(errcode.ErrorResponse); !errors.As(err, &refused) || refused.StatusCode < 400 || refused.StatusCode >= 500 {
			break // another format helps only where this one was refused
		}
	}
	return "", fmt.Errorf("%q: %w", name, err)
}

// pack makes and pushes the manifest. Before OCI 1.1, the configuration's type
// says what an artifact is.
func pack(ctx context.Context, repo *remote.Repository, format oras.PackManifestVersion, layers []ocispec.Descriptor) (ocispec.Descriptor, error) {
	o := oras.PackManifestOptions{Layers: layers}
	if format == oras.PackManifestVersion1_0 {
		config := ocispec.DescriptorEmptyJSON
		config.MediaType, config.Data = emptyConfig, nil
		if err := push(ctx, repo, config, []byte("{}")); err != nil {
			return config, err
		}
		o.ConfigDescriptor = &config
		return oras.PackManifest(ctx, repo, format, "", o)
	}
	return oras.PackManifest(ctx, repo, format, projectType, o)
}

// push sends a blob that the repository does not have.
func push(ctx context.Context, repo *remote.Repository, desc ocispec.Descriptor, body []byte) error {
	if there, err := repo.Blobs().Exists(ctx, desc); err == nil && there {
		return nil
	}
	return repo.Push(ctx, desc, bytes.NewReader(body))
}
