package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types"
	"github.com/moby/term"
	"golang.org/x/sys/unix"
)

// hijackEnd is how long a client may take to close its side after the output
// has ended. Closing ours first would make it lose what it has not read yet.
const hijackEnd = 2 * time.Second

// duplex is a connection taken over from HTTP: a process's input comes in, its
// output goes out.
type duplex struct {
	conn net.Conn
	in   io.Reader // conn and what was read ahead of it
	tty  bool      // the detach keys are looked for in the input
	raw  bool      // output goes out as it is, not framed
	buf  []byte
}

// hijack takes the connection over, in the form that the client asked for: 101
// with Upgrade, else the old plain 200.
func hijack(w http.ResponseWriter, r *http.Request, tty bool) (*duplex, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	var head strings.Builder
	if proto := r.Header.Get("Upgrade"); proto != "" {
		fmt.Fprintf(&head, "HTTP/1.1 101 UPGRADED\r\nContent-Type: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", streamType(r, tty), strings.Map(printable, proto))
	} else {
		fmt.Fprintf(&head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n", streamType(r, tty))
	}
	w.Header().WriteSubset(&head, map[string]bool{"Content-Type": true, "Date": true})
	head.WriteString("\r\n")
	if _, err := io.WriteString(conn, head.String()); err != nil {
		conn.Close()
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	// only what was read ahead is taken from rw: at its end it cancels the
	// request's context, and a client may end its input and go on reading
	ahead, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	return &duplex{conn: conn, in: io.MultiReader(bytes.NewReader(ahead), conn), tty: tty, raw: tty}, nil
}

func printable(c rune) rune {
	if c < ' ' || c > '~' {
		return -1
	}
	return c
}

// streamType is the media type of a process's output. Source: Engine API 1.42,
// which tells framed from raw streams.
func streamType(r *http.Request, tty bool) string {
	if !tty && versionOf(r).atLeast(1, 42) {
		return types.MediaTypeMultiplexedStream
	}
	return types.MediaTypeRawStream
}

// write sends a piece of output.
func (d *duplex) write(stream byte, p []byte) error {
	if !d.raw {
		d.buf = appendFrame(d.buf[:0], stream, p)
		p = d.buf
	}
	_, err := d.conn.Write(p)
	return err
}

// ports says which of a process's streams a client wants, and how its input
// ends.
type ports struct {
	stdin, stdout, stderr bool
	closeStdin            bool   // the end of the client's input ends the process's
	detachKeys            string // leave a terminal by these, "" for Docker's
	ended                 func() // called between the output's end and telling the client of it; may be nil
}

// serve connects client and process until the output ends, the client leaves
// or detaches, or ctx ends. It closes both.
func (d *duplex) serve(ctx context.Context, s *engine.Stream, want ports) {
	stop := context.AfterFunc(ctx, func() { s.Close(); d.conn.Close() })
	defer stop()
	inputEnded := make(chan struct{})
	go func() {
		defer close(inputEnded)
		if d.input(s, want) {
			s.Close() // detached, or nobody is there any more
		}
	}()
	if d.output(s, want) && want.ended != nil {
		want.ended()
	}
	s.Close()
	d.close(inputEnded)
}

// close tells the client that the output has ended and gives it a moment to
// read it; inputEnded is closed by whoever reads from the client, nil if
// nobody does.
func (d *duplex) close(inputEnded <-chan struct{}) {
	if c, ok := d.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		d.conn.SetReadDeadline(time.Now().Add(hijackEnd))
		if inputEnded == nil {
			io.Copy(io.Discard, d.in)
		} else {
			<-inputEnded
		}
	}
	d.conn.Close()
}

// output sends what the process writes until it ends or the client is gone. It
// reports whether the output ended by itself.
func (d *duplex) output(s *engine.Stream, want ports) bool {
	for {
		stream, p, err := s.Next()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if stream == stderr && !want.stderr || stream != stderr && !want.stdout {
			continue
		}
		if d.write(stream, p) != nil {
			return false
		}
	}
}

// input gives the process what the client sends. It reports whether the client
// has left; one that only ended its input has not.
func (d *duplex) input(s *engine.Stream, want ports) (left bool) {
	if want.stdin && s.Stdin != nil {
		in := d.in
		if d.tty {
			in = term.NewEscapeProxy(in, detachSequence(want.detachKeys))
		}
		_, err := io.Copy(s.Stdin, in)
		if errors.As(err, &term.EscapeError{}) {
			if s.Detached != nil {
				s.Detached()
			}
			return true
		}
		if want.closeStdin {
			s.Stdin.Close()
		}
	}
	// what a process does not read must not hold the client back
	if _, err := io.Copy(io.Discard, d.in); err != nil {
		return !errors.Is(err, unix.ETIMEDOUT)
	}
	return hungUp(d.conn)
}

// detachSequence is what makes a terminal's client detach.
func detachSequence(keys string) []byte {
	if keys != "" {
		if seq, err := term.ToBytes(keys); err == nil {
			return seq
		}
	}
	return []byte{16, 17} // ctrl-p,ctrl-q
}

// checkDetachKeys refuses keys that cannot be parsed.
func checkDetachKeys(keys string) error {
	if keys == "" {
		return nil
	}
	if _, err := term.ToBytes(keys); err != nil {
		return fmt.Errorf("detach keys %q: %v: %w", keys, err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// hungUp waits, after the end of the client's input, until the client is gone
// (true) or the connection's deadline or end on our side (false). A client that
// only half-closed still reads. TCP does not tell the two apart before the next
// write: there it returns only at the deadline or our own end.
func hungUp(conn net.Conn) bool {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	// called again whenever the poller has news of the socket
	raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		gone = err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		return gone
	})
	return gone
}
