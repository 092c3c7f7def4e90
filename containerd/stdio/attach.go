package stdio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"
)

// AttachOption changes what [Attach] asks for.
type AttachOption func(*attachOptions)

type attachOptions struct{ stdin bool }

// WithStdin says that this client brings the process's input: if the process
// was set up with Config.CloseStdin, its input ends when this client goes away,
// however that happens.
func WithStdin() AttachOption { return func(o *attachOptions) { o.stdin = true } }

// Stream is one client's connection to a process's streams. One goroutine may
// read while others write.
type Stream struct {
	conn   net.Conn
	frames frameReader
	ended  error

	writing sync.Mutex
	out     []byte
	closed  bool // stdin was closed, guarded by writing
}

// Attach connects to the hub at a socket. When it returns, the client is known
// to the hub: all output from then on will be delivered. Errors: ErrNotFound
// when the process's output has ended already (or it never was there),
// ErrUnavailable when the hub does not answer.
func Attach(ctx context.Context, socket string, options ...AttachOption) (*Stream, error) {
	var o attachOptions
	for _, set := range options {
		set(&o)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		class := error(errdefs.ErrUnavailable)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			class = errdefs.ErrNotFound
		}
		return nil, fmt.Errorf("attach at %q: the process has no open streams: %w: %w", socket, err, class)
	}
	s := &Stream{conn: conn, frames: frameReader{r: bufio.NewReaderSize(conn, headerLen+maxFrame)}}
	if err := s.hello(ctx, o); err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("attach at %q: wait for the shim's answer: %w: %w", socket, context.Cause(ctx), errdefs.ErrUnavailable)
		}
		return nil, fmt.Errorf("attach at %q: the process's output has ended: %w", socket, errdefs.ErrNotFound)
	}
	return s, nil
}

func (s *Stream) hello(ctx context.Context, o attachOptions) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	var stdin byte
	if o.stdin {
		stdin = 1
	}
	if err := s.send(frameHello, []byte{stdin}); err != nil {
		return err
	}
	kind, _, err := s.frames.next()
	if err == nil && kind != frameHello {
		err = fmt.Errorf("frame of kind %d instead of a hello", kind)
	}
	if err == nil && !stop() {
		err = ctx.Err() // the connection is being closed
	}
	return err
}

// Next returns the next piece of output and the stream it came on (Stdout or
// Stderr). The slice is valid until the next call. io.EOF: the output has
// ended and everything was delivered. ErrUnavailable: the connection broke
// before that, for the shim died or this client was too slow.
func (s *Stream) Next() (stream byte, p []byte, err error) {
	if s.ended != nil {
		return 0, nil, s.ended
	}
	for {
		kind, p, err := s.frames.next()
		switch {
		case err != nil:
			s.ended = fmt.Errorf("read from attached process: %w: %w", errdefs.ErrUnavailable, err)
			if err == io.EOF {
				s.ended = fmt.Errorf("the shim closed an attached process's stream early: %w", errdefs.ErrUnavailable)
			}
			return 0, nil, s.ended
		case kind == frameEnd:
			s.ended = io.EOF
			return 0, nil, io.EOF
		case kind == Stdout || kind == Stderr:
			return kind, p, nil
		}
	}
}

// Copy writes all output to stdout and stderr, either of which may be nil,
// until it ends.
func (s *Stream) Copy(stdout, stderr io.Writer) error {
	for {
		stream, p, err := s.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		w := stdout
		if stream == Stderr {
			w = stderr
		}
		if w == nil {
			continue
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
}

// Write sends input to the process. It blocks while the process does not read.
func (s *Stream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return len(p), s.send(Stdin, p)
}

// CloseWrite says that this client's input has ended.
func (s *Stream) CloseWrite() error { return s.send(frameStdinEnd, nil) }

// Stdin is the input alone; its Close is CloseWrite.
func (s *Stream) Stdin() io.WriteCloser { return stdin{s} }

type stdin struct{ s *Stream }

func (i stdin) Write(p []byte) (int, error) { return i.s.Write(p) }
func (i stdin) Close() error                { return i.s.CloseWrite() }

// Close leaves the process alone, save for what Config.CloseStdin says.
func (s *Stream) Close() error { return s.conn.Close() }

func (s *Stream) send(kind byte, p []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.closed {
		if kind == frameStdinEnd {
			return nil
		}
		return fmt.Errorf("write to attached process: %w", os.ErrClosed)
	}
	s.closed = kind == frameStdinEnd
	s.out = appendFrame(s.out[:0], kind, p)
	if _, err := s.conn.Write(s.out); err != nil {
		return fmt.Errorf("write to attached process: %w: %w", err, errdefs.ErrUnavailable)
	}
	return nil
}
