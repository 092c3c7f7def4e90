package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gantry/containerd/jsonlog"

	"github.com/containerd/errdefs"
)

// process stands for what the runtime opens.
type process struct {
	*Hub
	out, err io.WriteCloser
	in       io.ReadCloser
	inputEnd atomic.Int32
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, c Config, s Streams) *process {
	t.Helper()
	p := &process{}
	hub, err := New(c, s, func() { p.inputEnd.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	p.Hub = hub
	for _, e := range []struct {
		path string
		mode int
		to   func(*os.File)
	}{
		{hub.Stdout, os.O_WRONLY, func(f *os.File) { p.out = f }},
		{hub.Stderr, os.O_WRONLY, func(f *os.File) { p.err = f }},
		{hub.Stdin, os.O_RDONLY, func(f *os.File) { p.in = f }},
	} {
		if e.path == "" {
			continue
		}
		f, err := os.OpenFile(e.path, e.mode, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		e.to(f)
	}
	hub.Started()
	t.Cleanup(func() {
		p.exit()
		wait(t, hub.Done(), "the hub's end")
		if c.Socket != "" {
			if _, err := os.Stat(c.Socket); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is left: %v", err)
			}
		}
	})
	return p
}

func (p *process) exit() {
	for _, f := range []io.Closer{p.out, p.err, p.in} {
		if f != nil {
			f.Close()
		}
	}
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("no sign of %s within 30 s", what)
	}
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gs") // short, for sun_path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func attach(t *testing.T, socket string, o ...AttachOption) *Stream {
	t.Helper()
	s, err := Attach(bounded(t), socket, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// collect reads everything in the background.
func collect(t *testing.T, s *Stream) func() (out, errs string) {
	var out, errs bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- s.Copy(&out, &errs) }()
	return func() (string, string) {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the stream has not ended within 30 s")
		}
		return out.String(), errs.String()
	}
}

func logOf(t *testing.T, path string) (text map[string]string) {
	t.Helper()
	r, err := jsonlog.Open(path, jsonlog.Options{Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out, errs strings.Builder
	for {
		e, err := r.Next(t.Context())
		if err == io.EOF {
			return map[string]string{"stdout": out.String(), "stderr": errs.String()}
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream == jsonlog.Stderr {
			errs.Write(e.Line)
		} else {
			out.Write(e.Line)
		}
	}
}

func TestOutputReachesLogAndClients(t *testing.T) {
	c := Config{Socket: socket(t), LogPath: filepath.Join(t.TempDir(), "log")}
	p := start(t, c, Streams{Stdout: true, Stderr: true})
	a, b := collect(t, attach(t, c.Socket)), collect(t, attach(t, c.Socket))
	io.WriteString(p.out, "hello\n")
	io.WriteString(p.err, "oh\n")
	io.WriteString(p.out, "no newline")
	p.exit()
	wait(t, p.Drained(), "drained")
	if got := logOf(t, c.LogPath); got["stdout"] != "hello\nno newline" || got["stderr"] != "oh\n" {
		t.Errorf("log %q", got)
	}
	for _, client := range []func() (string, string){a, b} {
		if out, errs := client(); out != "hello\nno newline" || errs != "oh\n" {
			t.Errorf("a client got %q and %q", out, errs)
		}
	}
	if _, err := Attach(bounded(t), c.Socket); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("attaching after the end: %v", err)
	}
}

// A client that comes late gets what comes from then on.
func TestLateClient(t *testing.T) {
	c := Config{Socket: socket(t)}
	p := start(t, c, Streams{Stdout: true})
	first := attach(t, c.Socket)
	io.WriteString(p.out, "early")
	if _, got, err := first.Next(); err != nil || string(got) != "early" {
		t.Fatalf("got %q, %v", got, err)
	}
	late := collect(t, attach(t, c.Socket))
	io.WriteString(p.out, "late")
	p.exit()
	if out, _ := late(); out != "late" {
		t.Errorf("got %q", out)
	}
}

func TestOutputWithoutAnybodyIsDiscarded(t *testing.T) {
	p := start(t, Config{}, Streams{Stdout: true, Stderr: true})
	big := make([]byte, 4<<20)
	for _, w := range []io.Writer{p.out, p.err} {
		if n, err := w.Write(big); n != len(big) || err != nil {
			t.Fatal(n, err)
		}
	}
	p.exit()
	wait(t, p.Drained(), "drained")
}

// Backpressure instead of loss: the client reads long after the process has
// written far more than all buffers hold.
func TestSlowClientLosesNothing(t *testing.T) {
	c := Config{Socket: socket(t), LogPath: filepath.Join(t.TempDir(), "log"), MaxSize: -1}
	p := start(t, c, Streams{Stdout: true})
	s := attach(t, c.Socket)
	var want strings.Builder
	for i := range 500_000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	go func() {
		io.WriteString(p.out, want.String())
		p.exit()
	}()
	got := collect(t, s)
	if out, _ := got(); out != want.String() {
		t.Fatalf("got %d bytes of %d", len(out), want.Len())
	}
	wait(t, p.Drained(), "drained")
	if got := logOf(t, c.LogPath)["stdout"]; got != want.String() {
		t.Fatalf("the log has %d bytes of %d", len(got), want.Len())
	}
}

// shorten sets the patience with clients that are still to come.
func (p *process) shorten(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stall = d
}

// A client that takes nothing holds the process up for a bounded time, and
// another one that reads gets everything.
func TestStuckClientIsDropped(t *testing.T) {
	c := Config{Socket: socket(t)}
	p := start(t, c, Streams{Stdout: true})
	p.shorten(200 * time.Millisecond)
	stuck := attach(t, c.Socket)
	p.shorten(time.Minute)
	other := collect(t, attach(t, c.Socket))
	text := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	if _, err := io.WriteString(p.out, text); err != nil {
		t.Fatal(err)
	}
	p.exit()
	if out, _ := other(); out != text {
		t.Fatalf("the client that reads got %d bytes of %d", len(out), len(text))
	}
	if err := stuck.Copy(nil, nil); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Fatalf("the stuck client was told %v", err)
	}
}

// Reading a little now and then is enough not to be dropped, though the socket
// takes nothing for far longer than the bound.
func TestSteadyClientIsKept(t *testing.T) {
	c := Config{Socket: socket(t)}
	p := start(t, c, Streams{Stdout: true})
	p.shorten(400 * time.Millisecond)
	s := attach(t, c.Socket)
	text := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(p.out, text)
		wrote <- err
		p.exit()
	}()
	var out bytes.Buffer
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 60 { // 3 s, far slower than the socket's buffer empties
		_, b, err := s.Next()
		if err != nil {
			t.Fatalf("after %d bytes: %v", out.Len(), err)
		}
		out.Write(b)
		<-tick.C
	}
	if err := s.Copy(&out, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil || out.String() != text {
		t.Fatalf("got %d bytes of %d, %v", out.Len(), len(text), err)
	}
}

func TestAwaitedClientGetsTheFirstByte(t *testing.T) {
	c := Config{Socket: socket(t), AwaitClient: true}
	p := start(t, c, Streams{Stdout: true, Stderr: true})
	io.WriteString(p.out, "first")
	p.exit() // it comes even after the end
	wait(t, p.Drained(), "drained")
	if out, _ := collect(t, attach(t, c.Socket))(); out != "first" {
		t.Errorf("got %q", out)
	}
}

// A client that is awaited and never comes holds the process up for a bounded
// time only.
func TestAwaitedClientThatNeverComes(t *testing.T) {
	c := Config{Socket: socket(t), AwaitClient: true}
	hub, err := newHub(c, Streams{Stdout: true}, func() {}, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(hub.Stdout, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	hub.Started()
	if _, err := out.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	wait(t, hub.Done(), "the hub's end")
}

func (p *process) reads(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(p.in, got); err != nil || string(got) != want {
		t.Fatalf("the process read %.50q, %v; want %.50q", got, err, want)
	}
}

func TestInput(t *testing.T) {
	for _, once := range []bool{true, false} {
		t.Run(fmt.Sprintf("close %v", once), func(t *testing.T) {
			c := Config{Socket: socket(t), CloseStdin: once}
			p := start(t, c, Streams{Stdin: true, Stdout: true})
			big := strings.Repeat("x", 300<<10)
			s := attach(t, c.Socket, WithStdin())
			go func() {
				io.WriteString(s.Stdin(), "a")
				io.WriteString(s.Stdin(), big)
				s.Stdin().Close()
			}()
			p.reads(t, "a"+big)
			if !once { // another one goes on, until it is closed for all
				io.WriteString(attach(t, c.Socket), "b")
				p.reads(t, "b")
				p.CloseInput()
			}
			if n, err := p.in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the end of input: %d bytes, %v", n, err)
			}
			if !p.InputEnded() || (p.inputEnd.Load() == 1) != once {
				t.Errorf("input ended %v, told %d times", p.InputEnded(), p.inputEnd.Load())
			}
			s.CloseWrite()
			if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
				t.Errorf("writing after the end of input: %v", err)
			}
		})
	}
}

// A client that brought the input and dies ends it, another does not.
func TestInputEndsWithItsClient(t *testing.T) {
	c := Config{Socket: socket(t), CloseStdin: true}
	p := start(t, c, Streams{Stdin: true, Stdout: true})
	watcher, owner := attach(t, c.Socket), attach(t, c.Socket, WithStdin())
	watcher.Close()
	io.WriteString(owner, "last words")
	owner.Close()
	got, err := io.ReadAll(p.in)
	if err != nil || string(got) != "last words" {
		t.Fatalf("the process read %q, %v", got, err)
	}
}

func TestTerminalInputStaysOpen(t *testing.T) {
	c := Config{Socket: socket(t), CloseStdin: true, Terminal: true}
	p := start(t, c, Streams{Stdin: true, Stdout: true})
	s := attach(t, c.Socket, WithStdin())
	s.CloseWrite()
	s.Close()
	io.WriteString(attach(t, c.Socket), "still")
	b := make([]byte, 5)
	if _, err := io.ReadFull(p.in, b); err != nil || string(b) != "still" {
		t.Fatalf("the process read %q, %v", b, err)
	}
	if p.inputEnd.Load() != 0 {
		t.Fatal("the input of a terminal was ended")
	}
}

// Input that nobody reads does not keep the hub from ending.
func TestUnreadInput(t *testing.T) {
	c := Config{Socket: socket(t)}
	p := start(t, c, Streams{Stdin: true, Stdout: true})
	s := attach(t, c.Socket)
	got := collect(t, s)
	go io.Copy(s, strings.NewReader(strings.Repeat("y", 4<<20)))
	io.WriteString(p.out, "bye")
	p.exit()
	if out, _ := got(); out != "bye" {
		t.Errorf("got %q", out)
	}
}

func TestAttachErrors(t *testing.T) {
	path := socket(t)
	if _, err := Attach(bounded(t), path); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("no socket: %v", err)
	}
	if _, err := New(Config{Socket: "/" + strings.Repeat("x", 107)}, Streams{Stdout: true}, func() {}); !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("a path that is too long: %v", err)
	}
	if _, err := New(Config{LogPath: "/nonexistent/dir/log"}, Streams{Stdout: true}, func() {}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a log that cannot be made: %v", err)
	}
}

// A hub ends though somebody holds the outputs for ever.
func TestStop(t *testing.T) {
	c := Config{Socket: socket(t), LogPath: filepath.Join(t.TempDir(), "log")}
	p := start(t, c, Streams{Stdout: true})
	client := attach(t, c.Socket)
	io.WriteString(p.out, "held")
	if _, b, err := client.Next(); err != nil || string(b) != "held" {
		t.Fatal(string(b), err)
	}
	p.Stop()
	if _, _, err := client.Next(); err != io.EOF {
		t.Errorf("the client was told %v", err)
	}
	wait(t, p.Done(), "the hub's end")
	if got := logOf(t, c.LogPath); got["stdout"] != "held" {
		t.Errorf("log %q", got)
	}
}

// After Abort nothing is left, though a client was awaited, and one that is
// there still gets what it was owed.
func TestAbort(t *testing.T) {
	c := Config{Socket: socket(t), AwaitClient: true}
	p := start(t, c, Streams{Stdout: true})
	p.Abort()
	if _, err := os.Stat(c.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	wait(t, p.Done(), "the hub's end")

	p = start(t, c, Streams{Stdout: true})
	client := attach(t, c.Socket)
	io.WriteString(p.out, "owed")
	p.exit()
	wait(t, p.Drained(), "drained")
	p.Abort()
	if out, _ := collect(t, client)(); out != "owed" {
		t.Errorf("got %q", out)
	}
}

// The path of a socket may belong to the next process already when the hub of
// the one before ends.
func TestSocketIsHandedOn(t *testing.T) {
	c := Config{Socket: socket(t), AwaitClient: true}
	old, err := newHub(c, Streams{Stdout: true}, func() {}, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	old.Started()
	wait(t, old.Drained(), "drained")
	p := start(t, Config{Socket: c.Socket}, Streams{Stdout: true})
	wait(t, old.Done(), "the old hub's end")
	got := collect(t, attach(t, c.Socket))
	io.WriteString(p.out, "new")
	p.exit()
	if out, _ := got(); out != "new" {
		t.Errorf("got %q", out)
	}
}
