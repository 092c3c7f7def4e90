package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/tonistiigi/fsutil"
)

// WholeContext are files that a builder is sent: all of them, or fail is called
// with what is wrong, which must end the build. BuildKit's client by itself
// sends nothing for a file that cannot be opened, leaves out what follows one
// that has vanished, and hangs when one cannot be read to its end.
func WholeContext(files fsutil.FS, fail func(error)) fsutil.FS { return whole{files, fail} }

type whole struct {
	fsutil.FS
	fail func(error)
}

func (w whole) Open(path string) (io.ReadCloser, error) {
	f, err := w.FS.Open(path)
	switch {
	case errors.Is(err, syscall.ENXIO): // a socket is sent as an empty file
		return nil, err
	case err != nil:
		return read{broken{err}, w.fail}, nil
	}
	return read{ended(f), w.fail}, nil
}

// ended is a file up to where it ends now: it may grow faster than it is sent.
// One without a size has no end to know of.
func ended(f io.ReadCloser) io.ReadCloser {
	if s, ok := f.(fs.File); ok {
		if info, err := s.Stat(); err == nil && info.Size() > 0 {
			return struct {
				io.Reader
				io.Closer
			}{io.LimitReader(f, info.Size()), f}
		}
	}
	return f
}

func (w whole) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	return w.FS.Walk(ctx, target, func(path string, e fs.DirEntry, err error) error {
		if e != nil && !e.IsDir() {
			if _, gone := e.Info(); errors.Is(gone, fs.ErrNotExist) {
				return nil
			}
		}
		return fn(path, e, err)
	})
}

// read is a file whose errors are told.
type read struct {
	io.ReadCloser
	fail func(error)
}

func (r read) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		r.fail(fmt.Errorf("build context: %w", err))
	}
	return n, err
}

// broken is a file that could not be opened.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
func (b broken) Close() error             { return nil }
