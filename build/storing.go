package build

import (
	"context"

	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
)

// storing is one export into the image store. It tells clients the image's ID,
// as a Docker engine does, where BuildKit's exporter tells a digest that changes
// with the times in attestations: Docker Compose would replace the containers of
// an image that was built to the same content. What was pushed keeps the digest
// that the registry has.
type storing struct {
	exporter.ExporterInstance
	made   func(digest string, names []string) string
	names  []string
	pushed bool
}

func (s storing) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	out, finalize, ref, err := s.ExporterInstance.Export(ctx, src, info)
	if err != nil {
		return out, finalize, ref, err
	}
	if id := s.made(out[exptypes.ExporterImageDigestKey], s.names); id != "" && !s.pushed {
		out[exptypes.ExporterImageDigestKey], out[exptypes.ExporterImageConfigDigestKey] = id, id
	}
	return out, finalize, ref, nil
}
