package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// scheme comes before the name of an artifact.
const scheme = "oci://"

// What Docker Compose publishes. Source: its internal/oci.
const (
	projectType      = "application/vnd.docker.compose.project"
	emptyConfig      = "application/vnd.docker.compose.config.empty.v1+json" // of OCI 1.0, which has no artifact types
	composeFile      = "application/vnd.docker.compose.file+yaml"
	envFile          = "application/vnd.docker.compose.envfile"
	annotationFile   = "com.docker.compose.file"
	annotationEnv    = "com.docker.compose.envfile"
	annotationExtend = "com.docker.compose.extends"
)

// maxFile bounds each file of an artifact, in bytes.
const maxFile = 4 << 20

// open finds the repository of an artifact.
func (f *Fetcher) open(name string) (*remote.Repository, reference.Named, error) {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	domain := reference.Domain(named)
	repo := &remote.Repository{
		Reference: registry.Reference{Registry: domain, Repository: reference.Path(named)},
		PlainHTTP: loopback(domain) || slices.Contains(f.Insecure, domain),
	}
	repo.Client = &auth.Client{Client: retry.DefaultClient, Cache: auth.NewCache(), Credential: func(ctx context.Context, _ string) (auth.Credential, error) {
		c, err := f.Credentials(ctx, domain)
		return auth.Credential{Username: c.Username, Password: c.Password, RefreshToken: c.IdentityToken, AccessToken: c.RegistryToken}, err
	}}
	return repo, named, nil
}

// loopback tells whether a registry is on this host.
func loopback(domain string) bool {
	host := domain
	if h, _, err := net.SplitHostPort(domain); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// artifact brings the compose files of an artifact, merged into one as Docker
// Compose does: as documents of compose.yaml.
func (f *Fetcher) artifact(ctx context.Context, ref string) (string, error) {
	repo, named, err := f.open(strings.TrimPrefix(ref, scheme))
	if err != nil {
		return "", err
	}
	manifest, identity, err := projectManifest(ctx, repo, named)
	if err != nil {
		return "", err
	}
	dir, err := f.keep(identity, path.Base(reference.Path(named)), func(dir string) error {
		for i, layer := range manifest.Layers {
			if err := unpack(ctx, repo, layer, i, dir); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return find(dir, "compose.yaml")
}

// projectManifest reads the manifest of a project: the artifact's, or the one
// that its index names.
func projectManifest(ctx context.Context, repo *remote.Repository, named reference.Named) (m ocispec.Manifest, identity string, err error) {
	tag := "latest"
	switch r := named.(type) {
	case reference.Canonical:
		tag = r.Digest().String()
	case reference.Tagged:
		tag = r.Tag()
	}
	desc, stream, err := repo.FetchReference(ctx, tag)
	if err != nil {
		return m, "", err
	}
	body, err := readAll(stream, desc)
	if err != nil {
		return m, "", err
	}
	identity = desc.Digest.Encoded()
	if desc.MediaType == ocispec.MediaTypeImageIndex {
		var index ocispec.Index
		if err := json.Unmarshal(body, &index); err != nil {
			return m, "", err
		}
		i := slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.ArtifactType == projectType })
		if i < 0 {
			return m, "", fmt.Errorf("it is an image, not a compose project: %w", errdefs.ErrInvalidArgument)
		}
		if stream, err = repo.Fetch(ctx, index.Manifests[i]); err != nil {
			return m, "", err
		}
		if body, err = readAll(stream, index.Manifests[i]); err != nil {
			return m, "", err
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, "", err
	}
	if m.ArtifactType != projectType && (m.ArtifactType != "" || m.Config.MediaType != emptyConfig) {
		return m, "", fmt.Errorf("it is an image, not a compose project: %w", errdefs.ErrInvalidArgument)
	}
	return m, identity, nil
}

// unpack writes one layer's file into dir.
func unpack(ctx context.Context, repo *remote.Repository, layer ocispec.Descriptor, nth int, dir string) error {
	name, separator := "compose.yaml", ""
	switch layer.MediaType {
	case composeFile:
		if _, ok := layer.Annotations[annotationExtend]; ok {
			name = layer.Annotations[annotationFile]
		} else if nth > 0 {
			separator = "\n---\n"
		}
	case envFile:
		name = layer.Annotations[annotationEnv]
	default:
		return nil
	}
	if name == "" || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return fmt.Errorf("its layer %s names a file %q, which is not one beside the others: %w", layer.Digest, name, errdefs.ErrInvalidArgument)
	}
	stream, err := repo.Blobs().Fetch(ctx, layer)
	if err != nil {
		return err
	}
	body, err := readAll(stream, layer)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append([]byte(separator), body...))
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
}

// readAll reads what a descriptor describes, and checks that it does.
func readAll(stream io.ReadCloser, desc ocispec.Descriptor) ([]byte, error) {
	defer stream.Close()
	if desc.Size > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes: %w", desc.Digest, maxFile, errdefs.ErrResourceExhausted)
	}
	return content.ReadAll(stream, desc)
}
