package jsonlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// Docker's driver cuts lines at this size and marks all pieces but the last by
// leaving out the newline.
const maxLine = 16 << 10

// Defaults of Limits.
const (
	DefaultMaxSize = 10 << 20
	DefaultMaxFile = 3
)

// batch is how much is encoded before it is written out.
const batch = 64 << 10

// buffers are shared, so that quiet logs hold none.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Limits bounds a log.
type Limits struct {
	MaxSize int64 // bytes at which a file is rotated; 0: DefaultMaxSize, negative: never
	MaxFile int   // files kept, the current one included; 0: DefaultMaxFile
}

// Writer appends a process's output to a log. What is written is in the file
// when Write returns, apart from an unfinished line; a batch of lines costs one
// system call, so the busier the process, the cheaper each line. A Writer may
// be used by several goroutines.
type Writer struct {
	mu      sync.Mutex
	path    string
	limits  Limits
	attrs   []byte // JSON of what stands in every entry besides, empty for nothing
	file    *os.File
	size    int64
	torn    bool // the file ends inside a line, after a crash or a failed write
	out     []byte
	clock   clock
	last    time.Time
	streams map[string]*pending
}

// pending is the line of a stream whose end has not come yet.
type pending struct {
	line []byte
	cut  time.Time // when the first piece of a line that was cut was logged
}

// Create opens the log at path for appending; its directory must exist.
func Create(path string, limits Limits) (*Writer, error) {
	if limits.MaxFile < 0 {
		return nil, fmt.Errorf("log %q: max-file is %d, want at least 1: %w", path, limits.MaxFile, errdefs.ErrInvalidArgument)
	}
	if limits.MaxSize == 0 {
		limits.MaxSize = DefaultMaxSize
	}
	if limits.MaxFile == 0 {
		limits.MaxFile = DefaultMaxFile
	}
	w := &Writer{path: path, limits: limits, streams: map[string]*pending{}}
	if err := w.open(); err != nil {
		return nil, err
	}
	// There are more when max-file was larger before.
	for i := limits.MaxFile; os.Remove(rotated(path, i)) == nil; i++ {
	}
	return w, nil
}

// Tag makes all entries from now on bear attributes, such as labels of the
// container.
func (w *Writer) Tag(attrs map[string]string) error {
	if len(attrs) == 0 {
		return nil
	}
	b, err := json.Marshal(attrs)
	if err != nil {
		return fmt.Errorf("log %q: attributes: %w", w.path, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attrs = b
	return nil
}

// Write logs the lines that p completes as of time at, and keeps the rest of p
// until the line's end. Entries get times that increase strictly. After an
// error the lines concerned are lost, and later ones are tried again.
func (w *Writer) Write(stream string, at time.Time, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.streams[stream]
	if s == nil {
		s = &pending{}
		w.streams[stream] = s
	}
	b := buffers.Get().(*[]byte)
	w.out = (*b)[:0]
	defer func() {
		*b, w.out = w.out, nil
		buffers.Put(b)
	}()

	var errs error
	for len(p) > 0 {
		window := p[:min(len(p), maxLine-len(s.line))]
		i := bytes.IndexByte(window, '\n')
		if i < 0 {
			s.line = append(s.line, window...)
			p = p[len(window):]
			if len(s.line) == maxLine {
				errs = errors.Join(errs, w.entry(stream, s, at, s.line, false))
				s.line = s.line[:0]
			}
			continue
		}
		line := window[:i]
		if len(s.line) > 0 {
			s.line = append(s.line, line...)
			line = s.line
		}
		errs = errors.Join(errs, w.entry(stream, s, at, line, true))
		s.line = s.line[:0]
		p = p[i+1:]
	}
	return errors.Join(errs, w.flush(len(w.out)))
}

// Close logs what is left of unfinished lines and closes the file.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs error
	for _, stream := range []string{Stdout, Stderr} {
		if s := w.streams[stream]; s != nil && len(s.line) > 0 {
			errs = errors.Join(errs, w.entry(stream, s, time.Now(), s.line, false))
			s.line = nil
		}
	}
	errs = errors.Join(errs, w.flush(len(w.out)))
	if w.file != nil {
		errs = errors.Join(errs, w.file.Close())
		w.file = nil
	}
	return errs
}

// entry adds one entry to the batch, rotating first when it would not fit.
func (w *Writer) entry(stream string, s *pending, at time.Time, line []byte, newline bool) error {
	if s.cut.IsZero() {
		// Readers merge and resume by time, so no two entries share one; but
		// a clock that was set back is believed.
		if behind := w.last.Sub(at); behind >= 0 && behind < time.Second {
			at = w.last.Add(time.Nanosecond)
		}
		w.last = at
	} else {
		at = s.cut // all pieces of a line bear its first time
	}
	if s.cut = at; newline {
		s.cut = time.Time{}
	}
	start := len(w.out)
	w.out = appendEntry(w.out, stream, line, w.attrs, w.clock.format(at), newline)
	if w.limits.MaxSize > 0 && w.size+int64(len(w.out)) > w.limits.MaxSize && w.size+int64(start) > 0 {
		return errors.Join(w.flush(start), w.rotate())
	}
	if len(w.out) >= batch {
		return w.flush(len(w.out))
	}
	return nil
}

// flush writes the first n bytes of the batch.
func (w *Writer) flush(n int) error {
	if n == 0 {
		return nil
	}
	defer func() { w.out = append(w.out[:0], w.out[n:]...) }()
	if w.file == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	if w.torn {
		if _, err := w.file.Write([]byte{'\n'}); err != nil {
			return fmt.Errorf("write log: %w", err)
		}
		w.size++
		w.torn = false
	}
	written, err := w.file.Write(w.out[:n])
	w.size += int64(written)
	if err != nil {
		w.torn = written > 0 && w.out[written-1] != '\n'
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open log: %w", err)
	}
	w.file, w.size, w.torn = f, st.Size(), false
	if w.size > 0 {
		var end [1]byte
		if _, err := f.ReadAt(end[:], w.size-1); err == nil {
			w.torn = end[0] != '\n'
		}
	}
	return nil
}

// rotate shifts the files by one, oldest first, and starts a new one. Followers
// keep the old file open and find its successor by inode.
func (w *Writer) rotate() error {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	for i := w.limits.MaxFile - 1; i > 0; i-- {
		if err := os.Rename(rotated(w.path, i-1), rotated(w.path, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotate log: %w", err)
		}
	}
	if w.limits.MaxFile == 1 {
		if err := os.Remove(w.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("rotate log: %w", err)
		}
	}
	return w.open()
}

// rotated names the i-th newest file of the log at path.
func rotated(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}
