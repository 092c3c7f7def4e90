package jsonlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxEntry bounds a line of the file, in bytes. 16 KiB of text take 96 KiB at
// most; anything longer than this was not written by a log driver and is skipped.
const maxEntry = 1 << 20

// Options selects what a Reader returns.
type Options struct {
	Tail           int       // the last n entries of those selected otherwise, negative: all
	Since, Until   time.Time // both inclusive; zero: no bound
	Follow         bool      // wait for more at the end
	Stdout, Stderr bool      // neither: both
}

// Reader reads a log from its oldest file to its newest. Lines that are not
// entries are skipped. Only Finish may be called besides the goroutine that reads.
//
// A follower that reads is never cut off by rotation; one that stays behind by
// more than max-size × max-file loses what was deleted meanwhile.
type Reader struct {
	path   string
	opts   Options
	watch  *watch
	files  []*os.File // still to be read, oldest first; the first is being read
	offset int64      // in the first file
	buf    []byte
	start  int  // of what is not yet read in buf
	skip   bool // inside a line that is too long
	arena  arena
	err    error

	deleted bool // the first file was, and was looked at once more

	finish   sync.Once
	finished chan struct{}
}

// Open opens the log at path. One that does not exist yet is empty; to follow
// it, its directory must exist.
func Open(path string, o Options) (*Reader, error) {
	if !o.Stdout && !o.Stderr {
		o.Stdout, o.Stderr = true, true
	}
	r := &Reader{path: path, opts: o, finished: make(chan struct{})}
	var err error
	if o.Follow {
		if r.watch, err = watches.add(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	if r.files, err = openNewer(path, nil); err == nil {
		r.dropBefore(o.Since)
		err = r.seekTail(o.Tail)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// dropBefore leaves out files that were last written before since.
func (r *Reader) dropBefore(since time.Time) {
	for len(r.files) > 1 && !since.IsZero() {
		st, err := r.files[0].Stat()
		if err != nil || !st.ModTime().Before(since) {
			return
		}
		r.next()
	}
}

// seekTail places the reader before the last n entries.
func (r *Reader) seekTail(n int) error {
	if n < 0 {
		return nil
	}
	for i := len(r.files) - 1; i >= 0; i-- {
		offset, found, err := tailOffset(r.files[i], n, func(line []byte) bool {
			e, ok := r.arena.decode(line)
			return ok && r.wants(e) && !r.after(e)
		})
		if err != nil {
			return fmt.Errorf("read log %q from its end: %w", r.path, err)
		}
		if n -= found; n == 0 || i == 0 {
			for range i {
				r.next()
			}
			if n > 0 {
				offset = 0
			}
			return r.seek(offset)
		}
	}
	return nil
}

func (r *Reader) seek(offset int64) error {
	r.offset, r.buf, r.start = offset, r.buf[:0], 0
	if _, err := r.files[0].Seek(offset, io.SeekStart); err != nil {
		return fmt.Errorf("read log %q: %w", r.path, err)
	}
	return nil
}

func (r *Reader) wants(e Entry) bool {
	return (e.Stream == Stdout && r.opts.Stdout || e.Stream == Stderr && r.opts.Stderr) && !e.Time.Before(r.opts.Since)
}

func (r *Reader) after(e Entry) bool { return !r.opts.Until.IsZero() && e.Time.After(r.opts.Until) }

// Next returns the next entry, which the caller may keep. It returns io.EOF at
// the end; when following, that is once Finish was called and everything was
// read, or the clock passed Until, or the log's directory was removed. When
// ctx ends, Next returns its cause and may be called again.
func (r *Reader) Next(ctx context.Context) (Entry, error) {
	for r.err == nil {
		// Asked before reading: what was written before Finish is read after it.
		done := r.done()
		line, err := r.line()
		switch {
		case err == nil:
			e, ok := r.arena.decode(line)
			if ok && r.after(e) {
				r.err = io.EOF
			} else if ok && r.wants(e) {
				return e, nil
			} else if ctx.Err() != nil {
				return Entry{}, context.Cause(ctx)
			}
		case err != io.EOF:
			r.err = err
		case done:
			r.err = io.EOF
		default:
			if err := r.wait(ctx); err != nil {
				return Entry{}, err
			}
		}
	}
	return Entry{}, r.err
}

// done reports whether nothing more will be written that Next has to return.
func (r *Reader) done() bool {
	select {
	case <-r.finished:
		return true
	default:
	}
	return !r.opts.Follow || r.watch.gone.Load() || !r.opts.Until.IsZero() && !time.Now().Before(r.opts.Until)
}

func (r *Reader) wait(ctx context.Context) error {
	var until <-chan time.Time
	if !r.opts.Until.IsZero() {
		t := time.NewTimer(time.Until(r.opts.Until))
		defer t.Stop()
		until = t.C
	}
	select {
	case <-r.watch.changed:
	case <-r.finished:
	case <-until:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// line returns the next complete line, valid until the next call, or io.EOF
// where the newest file ends at present.
func (r *Reader) line() ([]byte, error) {
	searched := 0
	for {
		rest := r.buf[r.start:]
		if i := bytes.IndexByte(rest[searched:], '\n'); i >= 0 {
			i += searched
			r.start += i + 1
			if !r.skip {
				return rest[:i], nil
			}
			r.skip, searched = false, 0
			continue
		}
		if searched = len(rest); searched > maxEntry {
			r.buf, r.start, r.skip, searched = r.buf[:0], 0, true, 0
		}
		n, err := r.fill()
		if err != nil {
			return nil, err
		}
		if n > 0 {
			continue
		}
		more, err := r.advance()
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, io.EOF
		}
		searched = min(searched, len(r.buf)-r.start)
	}
}

// fill reads more of the first file into the buffer; 0 is its present end.
func (r *Reader) fill() (int, error) {
	if len(r.files) == 0 {
		return 0, nil
	}
	if r.start > 0 {
		r.buf = r.buf[:copy(r.buf, r.buf[r.start:])]
		r.start = 0
	}
	if len(r.buf) == cap(r.buf) {
		grown := make([]byte, len(r.buf), max(64<<10, 2*cap(r.buf)))
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.files[0].Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	r.offset += int64(n)
	if err != nil && err != io.EOF {
		return n, fmt.Errorf("read log %q: %w", r.path, err)
	}
	return n, nil
}

// advance is called at the end of the first file. It reports whether there is
// something to be read now.
func (r *Reader) advance() (bool, error) {
	if len(r.files) > 1 {
		r.next()
		return true, nil
	}
	if !r.opts.Follow {
		return false, nil
	}
	var current os.FileInfo
	if len(r.files) == 1 {
		var err error
		if current, err = r.files[0].Stat(); err != nil {
			return false, fmt.Errorf("read log %q: %w", r.path, err)
		}
		newest, err := os.Stat(r.path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return r.leave(current), nil
		case err != nil:
			return false, fmt.Errorf("read log %q: %w", r.path, err)
		case os.SameFile(newest, current):
			if newest.Size() >= r.offset {
				return false, nil
			}
			return true, r.seek(0) // somebody emptied it
		}
	}
	newer, err := openNewer(r.path, current)
	r.files = append(r.files, newer...)
	// Read the present file's end again before the first newer one: it may
	// have grown until it was rotated.
	return len(newer) > 0, err
}

// leave is called at the end of a file whose log has no newest file: it is
// between two steps of a rotation, or was deleted. A deleted file is closed
// after one more look, for it would keep its directory, so that the removal of
// that would not be told.
func (r *Reader) leave(current os.FileInfo) (again bool) {
	if st, ok := current.Sys().(*syscall.Stat_t); !ok || st.Nlink > 0 {
		return false
	}
	if r.deleted {
		r.next()
	}
	r.deleted = !r.deleted
	return true
}

// next leaves the first file; what is left of it is a torn line.
func (r *Reader) next() {
	r.files[0].Close()
	r.files = r.files[1:]
	r.offset, r.buf, r.start, r.skip = 0, r.buf[:0], 0, false
}

// Finish says that the writer is done: Next returns io.EOF once everything
// that was written before was returned. It may be called from any goroutine.
func (r *Reader) Finish() { r.finish.Do(func() { close(r.finished) }) }

// Close releases the files.
func (r *Reader) Close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	r.files = nil
	if r.watch != nil {
		errs = append(errs, watches.remove(r.watch))
		r.watch = nil
	}
	r.err = os.ErrClosed
	return errors.Join(errs...)
}
