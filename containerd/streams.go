package containerd

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// streams downloads an image's layers behind an unpacker's back, which unpacks
// them meanwhile. It learns that a layer is unpacked only when the download was
// committed: nothing is there whose digest did not hold.
type streams struct {
	ctx    context.Context // of the downloads: the first that fails ends all
	cancel context.CancelCauseFunc
	store  content.Store
	slots  *semaphore.Weighted
	whole  applier // of layers that are here
	live   diff.Applier
	tell   report
	spoilt atomic.Bool // a layer could not be unpacked as it came; it may when it is here

	running sync.WaitGroup
	mu      sync.Mutex
	layers  map[digest.Digest]*stream
}

func (r *Runtime) newStreams(ctx context.Context, tell report) *streams {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &streams{
		ctx: ctx, cancel: cancel, store: r.client.ContentStore(), slots: semaphore.NewWeighted(int64(r.cfg.Registries.downloads())),
		whole: applier{r.client.DiffService(), tell}, tell: tell, layers: map[digest.Digest]*stream{},
	}
	s.live = apply.NewFileSystemApplier(s)
	return s
}

// into is the store for downloads.
func (s *streams) into(r *Runtime) content.Store {
	to := streamed{Store: s.store, find: func(d ocispec.Descriptor) *stream { return s.layer(d.Digest) }}
	if r.cfg.Address == "" {
		to.ingests = filepath.Join(r.cfg.Root, "io.containerd.content.v1.content", "ingest")
	}
	return to
}

func (s *streams) layer(d digest.Digest) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.layers[d]
}

// ahead gets layers in the background, and all else as get does.
func (s *streams) ahead(get images.Handler) images.Handler {
	return images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !images.IsLayerType(desc.MediaType) {
			return get.Handle(ctx, desc)
		}
		if _, err := s.store.Info(ctx, desc.Digest); err == nil {
			return get.Handle(ctx, desc)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.layers[desc.Digest] == nil {
			st := newStream(desc.Size)
			s.layers[desc.Digest] = st
			s.running.Go(func() { st.finish(s.download(get, desc)) })
		}
		return nil, nil
	})
}

func (s *streams) download(get images.Handler, desc ocispec.Descriptor) error {
	err := s.slots.Acquire(s.ctx, 1)
	if err == nil {
		_, err = get.Handle(s.ctx, desc)
		s.slots.Release(1)
	}
	if err != nil && !errors.Is(err, images.ErrSkipDesc) {
		s.cancel(err)
		return context.Cause(s.ctx)
	}
	return nil
}

// ReaderAt reads a layer as it comes.
func (s *streams) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	if st := s.layer(desc.Digest); st != nil {
		if r, err := st.reader(ctx); r != nil || err != nil {
			return r, err
		}
	}
	return s.store.ReaderAt(ctx, desc)
}

// Apply unpacks a layer as it comes, and waits until all of it is here.
func (s *streams) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	st := s.layer(desc.Digest)
	if st == nil {
		return s.whole.Apply(ctx, desc, mounts, opts...)
	}
	out, err := s.live.Apply(ctx, desc, mounts, append(opts, extracting(s.tell, desc, st.ended))...)
	if err == nil {
		if err = st.wait(ctx); err != nil {
			return out, err
		}
		if _, _, spoilt, _ := st.look(); spoilt {
			err = errSpoilt
		}
	}
	if err != nil {
		if (!st.ended() || st.err == nil) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			s.spoilt.Store(true)
		}
		return out, err
	}
	s.tell.tell(Progress{ID: layerID(desc), Status: "Extracting", Current: desc.Size, Total: desc.Size})
	s.tell.tell(Progress{ID: layerID(desc), Status: "Pull complete", Current: desc.Size, Total: desc.Size})
	return out, nil
}

// end returns when all downloads have ended; err is what unpacking them came
// to. Of several errors, it returns the one that came first.
func (s *streams) end(err error) error {
	if err != nil {
		s.cancel(err)
	}
	s.running.Wait()
	for _, st := range s.layers {
		st.close()
	}
	err = context.Cause(s.ctx)
	s.cancel(nil)
	return err
}
