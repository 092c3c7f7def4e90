// Package logs merges, follows and prints the output of containers.
package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Line is one line of a container's output.
type Line struct {
	Name   string // as the prefix shows it
	Time   time.Time
	Stderr bool
	Text   []byte // without its newline
}

// maxLine bounds a line that is put together from pieces; a longer one is
// printed as several.
const maxLine = 1 << 20

// Reader decodes the answer of the Engine API to a request for logs with
// timestamps: frames, or plain lines when the container has a terminal.
type Reader struct {
	name  string
	body  io.ReadCloser
	in    *bufio.Reader
	ready []Line
	open  [3]*Line // unfinished lines by stream
	raw   bool
	begun bool
}

// NewReader takes body over; Close closes it. name stands in every line.
func NewReader(name string, body io.ReadCloser) *Reader {
	return &Reader{name: name, body: body, in: bufio.NewReaderSize(body, 32<<10)}
}

// Close ends reading, also from another goroutine.
func (r *Reader) Close() error { return r.body.Close() }

// Next returns io.EOF after the last line.
func (r *Reader) Next() (Line, error) {
	for len(r.ready) == 0 {
		if err := r.read(); err != nil {
			if errors.Is(err, io.EOF) {
				if l := r.rest(); l != nil {
					return *l, nil
				}
			}
			return Line{}, err
		}
	}
	l := r.ready[0]
	r.ready = r.ready[1:]
	return l, nil
}

// rest returns a last line that has no newline.
func (r *Reader) rest() *Line {
	for i, l := range r.open {
		if l != nil {
			r.open[i] = nil
			return l
		}
	}
	return nil
}

func (r *Reader) read() error {
	if !r.begun {
		first, err := r.in.Peek(1)
		if err != nil {
			return err
		}
		// A frame begins with its stream's number, a raw line with the year.
		r.raw, r.begun = first[0] > 2, true
	}
	if r.raw {
		text, err := r.in.ReadBytes('\n')
		if len(text) > 0 {
			r.add(1, text)
			return nil
		}
		return err
	}
	var header [8]byte
	if _, err := io.ReadFull(r.in, header[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(header[4:])
	if header[0] > 2 || size > 16*maxLine {
		return fmt.Errorf("log of %q: not a multiplexed stream (header %x)", r.name, header)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r.in, payload); err != nil {
		return fmt.Errorf("log of %q: broken frame: %w", r.name, io.ErrUnexpectedEOF)
	}
	r.add(header[0], payload)
	return nil
}

// add takes in one entry: a timestamp, a space, and a line or a piece of one.
// Live output comes without timestamps, and several lines at a time.
func (r *Reader) add(stream byte, entry []byte) {
	var at time.Time
	if stamp, text, ok := bytes.Cut(entry, []byte(" ")); ok {
		if t, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
			at, entry = t, text
		}
	}
	for piece := range bytes.SplitAfterSeq(entry, []byte("\n")) {
		if len(piece) > 0 {
			r.piece(stream, at, piece)
		}
	}
}

func (r *Reader) piece(stream byte, at time.Time, piece []byte) {
	l := r.open[stream]
	if l == nil {
		l = &Line{Name: r.name, Time: at, Stderr: stream == 2}
	}
	text, ended := bytes.CutSuffix(piece, []byte("\n"))
	l.Text = append(l.Text, text...)
	if !ended && len(l.Text) < maxLine {
		r.open[stream] = l
		return
	}
	if r.raw {
		l.Text = bytes.TrimSuffix(l.Text, []byte("\r")) // a terminal's line end
	}
	r.open[stream] = nil
	r.ready = append(r.ready, *l)
}
