package api

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/log"
	moby "github.com/moby/moby/client"
)

// patience bounds what a test waits for; reaching it is a failure.
const patience = 20 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// TestMain collects what the server logs: a panic in a handler is only told
// there.
func TestMain(m *testing.M) {
	log.L.Logger.SetOutput(io.Discard)
	log.L.Logger.SetLevel(log.DebugLevel)
	p := &panics{}
	log.L.Logger.AddHook(p)
	code := m.Run()
	if p.seen.Load() {
		fmt.Fprintln(os.Stderr, "a handler panicked:", p.first)
		code = 1
	}
	os.Exit(code)
}

// panics notices panics in the log.
type panics struct {
	seen  atomic.Bool
	first string
}

func (p *panics) Levels() []log.Level { return []log.Level{log.DebugLevel} }

func (p *panics) Fire(e *log.Entry) error {
	if strings.Contains(e.Message, "panic serving") && p.seen.CompareAndSwap(false, true) {
		p.first = e.Message
	}
	return nil
}

// served is a server on a unix socket of its own.
type served struct {
	socket string
	stop   func() error // ends it and returns what Serve returned; once
}

func serveBackends(t *testing.T, b backends) *served {
	t.Helper()
	return serveHandler(t, newHandler(b, "test"))
}

func serveHandler(t *testing.T, h http.Handler) *served {
	t.Helper()
	dir, err := os.MkdirTemp("", "gantry-api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &served{socket: filepath.Join(dir, "s.sock")}
	ls, err := Listen([]string{"unix://" + s.socket}, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- newServer(h).Serve(ctx, ls) }()
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience + graceEnd):
			t.Fatal("the server does not stop")
			return nil
		}
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func (s *served) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// client is a real client of the Engine API.
func (s *served) client(t *testing.T, opts ...moby.Opt) *moby.Client {
	t.Helper()
	c, err := moby.New(append([]moby.Opt{moby.WithHost("unix://" + s.socket)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// await fails the test when c is not closed in time.
func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
}
