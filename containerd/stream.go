package containerd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// errSpoilt is a layer that was unpacked while it came, but came otherwise
// than its digest says.
var errSpoilt = errors.New("what was unpacked meanwhile is not what the layer's digest says")

// stream is a layer that is being downloaded, for those who read it meanwhile:
// they read the content store's file of the unfinished blob, which a retried
// download goes on to write, and wait where it ends.
type stream struct {
	size    int64
	done    chan struct{} // closed when the download has ended
	err     error         // with which it did; valid after done
	mu      sync.Mutex
	changed chan struct{} // closed when what follows changes
	file    *os.File      // nil before the download, and when the file is not ours to read
	at      int64         // how many bytes are there
	spoilt  bool          // the download began anew: what was read does not count
}

func newStream(size int64) *stream {
	return &stream{size: size, done: make(chan struct{}), changed: make(chan struct{})}
}

func (s *stream) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) look() (file *os.File, at int64, spoilt bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file, s.at, s.spoilt, s.changed
}

// opened is told that bytes are written behind the first ones.
func (s *stream) opened(file func() *os.File, offset int64) {
	s.update(func() {
		if s.file == nil && !s.spoilt {
			s.file = file()
		}
		if s.at > offset { // some of what was read is gone
			s.spoilt = true
		}
		s.at = offset
	})
}

func (s *stream) grew(n int) {
	s.update(func() {
		if before := s.at / window; s.file != nil && (s.at+int64(n))/window > before { // on its way to the disk before it is waited for
			_ = unix.SyncFileRange(int(s.file.Fd()), before*window, window, unix.SYNC_FILE_RANGE_WRITE)
		}
		s.at += int64(n)
	})
}

func (s *stream) spoil() { s.update(func() { s.spoilt = s.spoilt || s.at > 0 }) }

func (s *stream) finish(err error) {
	s.err = err
	close(s.done)
}

// wait returns when the download has ended, with its error.
func (s *stream) wait(ctx context.Context) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *stream) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// reader waits for the download's first byte, and returns nil when there is
// nothing to be read but the complete blob.
func (s *stream) reader(ctx context.Context) (content.ReaderAt, error) {
	for {
		file, _, spoilt, changed := s.look()
		if file != nil && !spoilt {
			return &following{stream: s}, nil
		}
		select {
		case <-changed:
		case <-s.done:
			return nil, s.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// close is called when nobody reads any more.
func (s *stream) close() {
	s.update(func() {
		if s.file != nil {
			_ = s.file.Close()
		}
	})
}

// window is how much is written to the disk, and dropped from memory, at once.
const window = 4 << 20

// following reads a stream in one go. Nobody reads a layer's blob soon again,
// so that what was read leaves memory when it is on the disk.
type following struct {
	*stream
	dropped int64
}

var _ content.ReaderAt = (*following)(nil)

func (f *following) Size() int64  { return f.size }
func (f *following) Close() error { return nil }

func (f *following) ReadAt(p []byte, offset int64) (int, error) {
	want := min(offset+int64(len(p)), f.size)
	if offset >= want {
		return 0, io.EOF
	}
	for {
		file, at, spoilt, changed := f.look()
		ended := f.ended()
		switch {
		case spoilt:
			return 0, errSpoilt
		case ended && f.err != nil:
			return 0, f.err
		case at >= want || ended:
			f.drop(file, offset)
			return file.ReadAt(p, offset)
		}
		select {
		case <-changed:
		case <-f.done:
		}
	}
}

// drop forgets what lies more than a window before offset. It waits for the
// disk, which the pull has to do in any case.
func (f *following) drop(file *os.File, offset int64) {
	if offset-f.dropped < 2*window {
		return
	}
	fd, n := int(file.Fd()), (offset-f.dropped)/window*window-window
	_ = unix.SyncFileRange(fd, f.dropped, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	_ = unix.Fadvise(fd, f.dropped, n, unix.FADV_DONTNEED)
	f.dropped += n
}

// streamed is a content store that tells streams of what is written.
type streamed struct {
	content.Store
	ingests string // where the store has what is unfinished, "" when it is not ours
	find    func(ocispec.Descriptor) *stream
}

func (s streamed) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	w, err := s.Store.Writer(ctx, opts...)
	st := s.find(o.Desc)
	if err != nil || st == nil {
		return w, err
	}
	status, err := w.Status()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	st.opened(func() *os.File { return s.unfinished(o.Ref) }, status.Offset)
	return streamWriter{w, st}, nil
}

// unfinished opens what is there of a download, nil if that cannot be told:
// the store has a directory for each, with its name behind a number.
func (s streamed) unfinished(ref string) (file *os.File) {
	if s.ingests == "" {
		return nil
	}
	names, _ := filepath.Glob(filepath.Join(s.ingests, "*", "ref"))
	for _, name := range names {
		if b, err := os.ReadFile(name); err != nil || !strings.HasSuffix(string(b), "/"+ref) {
			continue
		}
		if file != nil {
			_ = file.Close()
			return nil
		}
		var err error
		if file, err = os.Open(filepath.Join(filepath.Dir(name), "data")); err != nil {
			return nil
		}
	}
	return file
}

type streamWriter struct {
	content.Writer
	to *stream
}

func (w streamWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.to.grew(n)
	return n, err
}

func (w streamWriter) Truncate(size int64) error {
	w.to.spoil()
	return w.Writer.Truncate(size)
}
