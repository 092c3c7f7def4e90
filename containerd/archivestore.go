package containerd

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxDocument bounds what of an archive or from a registry is read into memory at once, in bytes:
// an index, a manifest or a configuration.
const maxDocument = 20 << 20

// archiveStore is the content store as one archive is read into it.
type archiveStore struct {
	content.Store
	// work sets blobs that are being written apart: the names that they have in
	// an archive are not theirs alone.
	work string
}

// Writer implements content.Ingester.
func (s archiveStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	return s.Store.Writer(ctx, append(slices.Clone(opts), func(o *content.WriterOpts) error {
		o.Ref = s.work + " " + o.Ref
		return nil
	})...)
}

// ReaderAt implements content.Provider. Documents that are too large are
// errdefs.ErrInvalidArgument, whatever the archive says of their size.
func (s archiveStore) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	r, err := s.Store.ReaderAt(ctx, d)
	if err != nil {
		return nil, err
	}
	if size := r.Size(); isDocument(d) && size > maxDocument {
		r.Close()
		return nil, fmt.Errorf("%q, of type %q, has %d bytes: %w", d.Digest, d.MediaType, size, errdefs.ErrInvalidArgument)
	}
	return r, nil
}
