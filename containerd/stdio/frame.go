package stdio

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/containerd/errdefs"
)

// Stream numbers, as in the Engine API's multiplexed streams.
const (
	Stdin  byte = 0
	Stdout byte = 1
	Stderr byte = 2
)

// Frames on the socket are those of the Engine API's multiplexed streams: one
// byte of kind, three of zero, a big-endian length, the payload. Besides data:
//
//	client → hub   hello      first frame; one byte, 1 if it brings stdin
//	hub → client   hello      attached: every byte of output from here on comes
//	client → hub   stdinEnd   the client's input has ended
//	hub → client   end        the process's output has ended and is all delivered
const (
	frameEnd      byte = 16
	frameStdinEnd byte = 17
	frameHello    byte = 18
)

const (
	headerLen = 8
	// maxFrame bounds a payload. Larger data is cut into several frames.
	maxFrame = 32 << 10
)

func appendFrame(b []byte, kind byte, p []byte) []byte {
	for {
		n := min(len(p), maxFrame)
		b = append(b, kind, 0, 0, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			return b
		}
	}
}

// frameReader reads frames. Its payloads are valid until the next call.
type frameReader struct {
	r      io.Reader
	header [headerLen]byte
	buf    []byte
}

// next returns io.EOF when the other side closed between two frames.
func (f *frameReader) next() (kind byte, p []byte, err error) {
	if _, err := io.ReadFull(f.r, f.header[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(f.header[4:]))
	if n > maxFrame {
		return 0, nil, fmt.Errorf("stdio frame of %d bytes, at most %d are allowed: %w", n, maxFrame, errdefs.ErrInvalidArgument)
	}
	if cap(f.buf) < n {
		f.buf = make([]byte, max(n, 512))
	}
	p = f.buf[:n]
	if _, err := io.ReadFull(f.r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return f.header[0], p, nil
}
