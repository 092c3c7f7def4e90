package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest bounds what is read of a manifest or a configuration.
const maxManifest = 8 << 20

// InspectRemote tells what a registry has under a name, without pulling it: the
// manifest's or index's descriptor and the platforms that it serves.
func (r *Runtime) InspectRemote(ctx context.Context, ref string, a Auth) (target ocispec.Descriptor, serves []ocispec.Platform, err error) {
	ctx = r.with(ctx)
	name, err := NormalizeReference(ref)
	if err != nil {
		return target, nil, err
	}
	resolver, err := r.cfg.Registries.resolver(name, a, nil)
	if err != nil {
		return target, nil, err
	}
	target, err = r.resolve(ctx, resolver, name, briefly, nil)
	if err != nil {
		return target, nil, err
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return target, nil, err
	}
	var manifest struct {
		Config    ocispec.Descriptor
		Manifests []ocispec.Descriptor
	}
	if err := fetchJSON(ctx, fetcher, target, &manifest); err != nil {
		return target, nil, registryError(name, err)
	}
	if images.IsIndexType(target.MediaType) {
		for _, m := range manifest.Manifests {
			if m.Platform != nil {
				serves = append(serves, *m.Platform)
			}
		}
		return target, serves, nil
	}
	if !images.IsConfigType(manifest.Config.MediaType) {
		return target, nil, nil // an artifact runs nowhere
	}
	var platform ocispec.Platform
	if err := fetchJSON(ctx, fetcher, manifest.Config, &platform); err != nil {
		return target, nil, registryError(name, err)
	}
	return target, []ocispec.Platform{platform}, nil
}

func fetchJSON(ctx context.Context, fetcher remotes.Fetcher, desc ocispec.Descriptor, v any) error {
	if desc.Size > maxManifest {
		return fmt.Errorf("%s %s has %d bytes, more than %d: %w", desc.MediaType, desc.Digest, desc.Size, maxManifest, errdefs.ErrOutOfRange)
	}
	body, err := fetcher.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return err
	}
	if got := desc.Digest.Algorithm().FromBytes(b); got != desc.Digest {
		return fmt.Errorf("%s: %w", desc.Digest, errCorrupt)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s %s: %w", desc.MediaType, desc.Digest, err)
	}
	return nil
}
