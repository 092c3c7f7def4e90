package terminal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// bound is how long a test waits for what must happen.
const bound = 10 * time.Second

func frame(stream byte, text string) []byte {
	out := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(out[4:], uint32(len(text)))
	return append(out, text...)
}

// process is the far end of a connection.
type process struct{ net.Conn }

// connect returns a connection whose halves close apart, as the daemon's do.
func connect(t *testing.T) (Conn, process) {
	t.Helper()
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return Conn{Output: near, Input: near, CloseInput: near.(*net.UnixConn).CloseWrite, Close: near.Close}, process{far}
}

func openPTY(t *testing.T) (user, tty *os.File) {
	t.Helper()
	user, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close(); tty.Close() })
	return user, tty
}

func within(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(bound):
		t.Fatalf("%s takes longer than %v", what, bound)
		return nil
	}
}

func TestPipedInputAndBothOutputs(t *testing.T) {
	conn, far := connect(t)
	go func() {
		in, _ := io.ReadAll(far) // ends when the input is half-closed
		far.Write(frame(1, "got "+string(in)))
		far.Write(frame(2, "oops"))
		far.Close()
	}()
	var out, errs bytes.Buffer
	s := Session{In: strings.NewReader("some input"), Out: &out, Err: &errs}
	if err := within(t, "the session", func() error { return s.Run(t.Context(), conn) }); err != nil {
		t.Fatal(err)
	}
	if out.String() != "got some input" || errs.String() != "oops" {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
}

func TestNoInputIsAnEndOfInput(t *testing.T) {
	conn, far := connect(t)
	go func() {
		io.Copy(io.Discard, far)
		far.Write(frame(1, "eof seen"))
		far.Close()
	}()
	var out bytes.Buffer
	if err := within(t, "the session", func() error { return Session{Out: &out, Err: &out}.Run(t.Context(), conn) }); err != nil {
		t.Fatal(err)
	}
	if out.String() != "eof seen" {
		t.Errorf("output %q", out.String())
	}
}

func TestProcessEndsWhileInputIsOpen(t *testing.T) {
	conn, far := connect(t)
	in, _ := io.Pipe() // never yields anything
	go func() {
		far.Write(frame(1, "bye"))
		far.Close()
	}()
	var out bytes.Buffer
	s := Session{In: in, Out: &out, Err: &out}
	if err := within(t, "the session", func() error { return s.Run(t.Context(), conn) }); err != nil {
		t.Fatal(err)
	}
	if out.String() != "bye" {
		t.Errorf("output %q", out.String())
	}
}

func TestCutStreamShowsWhatCameWhole(t *testing.T) {
	conn, far := connect(t)
	go func() {
		far.Write(frame(1, "whole"))
		far.Write(frame(1, "cut")[:9])
		far.Close()
	}()
	var out bytes.Buffer
	err := within(t, "the session", func() error { return Session{Out: &out, Err: &out}.Run(t.Context(), conn) })
	if err != nil || out.String() != "whole" {
		t.Errorf("error %v, output %q", err, out.String())
	}
}

func TestCancelled(t *testing.T) {
	conn, _ := connect(t)
	because := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(because)
	err := within(t, "the session", func() error { return Session{Out: io.Discard, Err: io.Discard}.Run(ctx, conn) })
	if !errors.Is(err, because) {
		t.Errorf("error %v", err)
	}
}

func state(t *testing.T, f *os.File) term.State {
	t.Helper()
	s, err := term.GetState(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

func TestRawAndBack(t *testing.T) {
	_, tty := openPTY(t)
	before := state(t, tty)
	restore, err := Raw(tty)
	if err != nil {
		t.Fatal(err)
	}
	if state(t, tty) == before {
		t.Error("the terminal is not raw")
	}
	restore()
	restore()
	if state(t, tty) != before {
		t.Error("the terminal is not as it was")
	}
	if restore, err := Raw(strings.NewReader("")); err != nil {
		t.Errorf("a pipe: %v", err)
	} else {
		restore()
	}
}

// TestTerminalSession types at a terminal: keys go through raw, output comes
// unframed, the size follows, and the terminal is put back.
func TestTerminalSession(t *testing.T) {
	user, tty := openPTY(t)
	before := state(t, tty)
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 91, Rows: 17}); err != nil {
		t.Fatal(err)
	}
	conn, far := connect(t)
	sizes := make(chan [2]int, 10)
	s := Session{In: tty, Out: tty, TTY: true, DetachKeys: DefaultDetachKeys,
		Resize: func(_ context.Context, w, h int) error { sizes <- [2]int{w, h}; return nil }}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context(), conn) }()

	size := func(want [2]int) {
		t.Helper()
		select {
		case got := <-sizes:
			if got != want {
				t.Errorf("size %v, want %v", got, want)
			}
		case <-time.After(bound):
			t.Fatalf("size %v does not arrive", want)
		}
	}
	size([2]int{91, 17})
	if state(t, tty) == before {
		t.Error("the terminal is not raw")
	}
	if err := pty.Setsize(tty, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		t.Fatal(err)
	}
	// the test's process has another terminal, if any: the kernel tells it nothing
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	size([2]int{100, 30})

	user.Write([]byte("ls\r\x03")) // Ctrl-C is a key like any other
	got := make([]byte, 4)
	if err := within(t, "reading keys", func() error { _, err := io.ReadFull(far, got); return err }); err != nil || string(got) != "ls\r\x03" {
		t.Errorf("the process got %q, %v", got, err)
	}
	far.Write([]byte("bin\r\n"))
	got = make([]byte, 5)
	if err := within(t, "reading output", func() error { _, err := io.ReadFull(user, got); return err }); err != nil || string(got) != "bin\r\n" {
		t.Errorf("the user got %q, %v", got, err)
	}
	far.Close()
	if err := within(t, "the session's end", func() error { return <-ended }); err != nil {
		t.Error(err)
	}
	if state(t, tty) != before {
		t.Error("the terminal is not as it was")
	}
}

func TestDetach(t *testing.T) {
	user, tty := openPTY(t)
	before := state(t, tty)
	conn, far := connect(t)
	s := Session{In: tty, Out: tty, TTY: true, DetachKeys: DefaultDetachKeys}
	var once sync.Once
	var read []byte
	go func() {
		b := make([]byte, 16)
		n, _ := far.Read(b)
		once.Do(func() { read = b[:n] })
		user.Write([]byte("\x10\x11")) // ctrl-p ctrl-q
	}()
	user.Write([]byte("x"))
	if err := within(t, "the session", func() error { return s.Run(t.Context(), conn) }); !errors.Is(err, ErrDetached) {
		t.Errorf("error %v, want detached", err)
	}
	once.Do(func() { t.Error("the process got nothing") })
	if string(read) != "x" {
		t.Errorf("the process got %q", read)
	}
	if state(t, tty) != before {
		t.Error("the terminal is not as it was")
	}
}

func TestInvalidDetachKeys(t *testing.T) {
	_, tty := openPTY(t)
	conn, _ := connect(t)
	err := Session{In: tty, Out: tty, TTY: true, DetachKeys: "ctrl-,"}.Run(t.Context(), conn)
	if err == nil || !strings.Contains(err.Error(), "--detach-keys") {
		t.Errorf("error %v", err)
	}
}
