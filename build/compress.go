package build

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/moby/buildkit/cache/config"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/util/compression"
	"github.com/moby/buildkit/util/progress"
	"golang.org/x/sync/errgroup"
)

// Compressor makes a writer that writes gzip: the same for the same bytes, in
// whatever pieces they come, so that an image built again keeps its digest.
type Compressor func(io.Writer) (io.WriteCloser, error)

// compressing exports images whose layers it has compressed before BuildKit
// would, which does it on one core with the standard library.
type compressing struct {
	exporter.Exporter
	compress Compressor
}

func (c compressing) Resolve(ctx context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	e, err := c.Exporter.Resolve(ctx, id, attrs)
	if err != nil || c.compress == nil {
		return e, err
	}
	if kind := attrs["compression"]; kind != "" && kind != compression.Gzip.String() || attrs["compression-level"] != "" {
		return e, nil
	}
	return compressed{e, c.compress}, nil
}

type compressed struct {
	exporter.ExporterInstance
	compress Compressor
}

func (c compressed) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	how := config.RefConfig{Compression: compression.New(gzip{compression.Gzip, c.compress})}
	told := progress.OneOff(ctx, "compressing layers")
	group, gctx := errgroup.WithContext(ctx)
	for _, ref := range append(slices.Collect(maps.Values(src.Refs)), src.Ref) {
		if ref == nil {
			continue
		}
		group.Go(func() error {
			_, err := ref.GetRemotes(gctx, true, how, false, session.NewGroup(info.SessionID))
			return err
		})
	}
	if err := told(group.Wait()); err != nil {
		return nil, nil, nil, fmt.Errorf("layers of the image: %w", err)
	}
	return c.ExporterInstance.Export(ctx, src, info)
}

// gzip is BuildKit's type of that name, but for who compresses.
type gzip struct {
	compression.Type
	compress Compressor
}

func (g gzip) Compress(context.Context, compression.Config) (compression.Compressor, compression.Finalizer) {
	return func(w io.Writer, _ string) (io.WriteCloser, error) { return g.compress(w) }, nil
}

// NeedsComputeDiffBySelf is for snapshotters other than overlayfs: containerd's
// own differ would compress by itself.
func (g gzip) NeedsComputeDiffBySelf(compression.Config) bool { return true }
