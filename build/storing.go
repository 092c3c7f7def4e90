package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/util/progress"
)

// imageStore exports into the image store: images are unpacked, so that
// containers of them start at once, and have a name even if nobody gave one.
type imageStore struct {
	exporter.Exporter
	unpack   func(ctx context.Context, digest string, built map[string]string) error
	made     func(digest string, names []string) string
	dangling string
}

func (s imageStore) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	attrs = maps.Clone(attrs)
	if attrs == nil {
		attrs = map[string]string{}
	}
	var names []string
	for name := range strings.SplitSeq(attrs["name"], ",") {
		if name == "" {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, fmt.Errorf("image name %q: %w: %w", name, err, errdefs.ErrInvalidArgument)
		}
		names = append(names, reference.TagNameOnly(ref).String())
	}
	attrs["name"] = strings.Join(names, ",")
	if len(names) == 0 {
		attrs["dangling-name-prefix"] = s.dangling
	}
	if text := attrs["unpack"]; text != "" {
		unpack, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("non-bool value %q specified for unpack: %w", text, errdefs.ErrInvalidArgument)
		}
		if !unpack {
			s.unpack = nil
		}
	}
	attrs["unpack"] = "false" // by BuildKit
	e, err := s.Exporter.Resolve(ctx, id, attrs)
	push, _ := strconv.ParseBool(attrs["push"])
	return storing{e, s, names, push}, err
}

// storing is one export into the image store. It tells clients the image's ID,
// as a Docker engine does, where BuildKit's exporter tells a digest that changes
// with the times in attestations: Docker Compose would replace the containers of
// an image that was built to the same content. What was pushed keeps the digest
// that the registry has.
type storing struct {
	exporter.ExporterInstance
	store  imageStore
	names  []string
	pushed bool
}

func (s storing) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	out, finalize, ref, err := s.ExporterInstance.Export(ctx, src, info)
	if err != nil {
		return out, finalize, ref, err
	}
	if s.store.unpack != nil {
		told := progress.OneOff(ctx, "unpacking to "+out[exptypes.ExporterImageNameKey])
		if err := told(s.store.unpack(ctx, out[exptypes.ExporterImageDigestKey], built(src))); err != nil {
			return nil, nil, nil, errors.Join(err, ref.Release())
		}
	}
	if id := s.store.made(out[exptypes.ExporterImageDigestKey], s.names); id != "" && !s.pushed {
		out[exptypes.ExporterImageDigestKey], out[exptypes.ExporterImageConfigDigestKey] = id, id
	}
	return out, finalize, ref, nil
}

// Fields of BuildKit's records of results. Source: buildkit, cache/metadata.go.
const (
	fieldChain    = "cache.chainID" // of the layers that were made of it
	fieldSnapshot = "cache.snapshot"
)

// built are the snapshots of what is exported, by their layers' chain IDs.
func built(src *exporter.Source) map[string]string {
	out := map[string]string{}
	for _, ref := range append(slices.Collect(maps.Values(src.Refs)), src.Ref) {
		if ref == nil {
			continue
		}
		if chain := ref.GetString(fieldChain); chain != "" {
			out[chain] = imageKey(ref.GetString(fieldSnapshot))
		}
	}
	return out
}
