package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"gantry/containerd/stdio"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// processIO carries the streams of a process to the shim, as URIs.
type processIO struct{ stdin, stdout, stderr string }

func newProcessIO(c stdio.Config, stdin, tty bool) processIO {
	c.Terminal = tty
	uri := c.URI()
	p := processIO{stdout: uri}
	if !tty {
		p.stderr = uri
	}
	if stdin {
		p.stdin = uri
	}
	return p
}

func withStdin(stdin bool) []stdio.AttachOption {
	if stdin {
		return []stdio.AttachOption{stdio.WithStdin()}
	}
	return nil
}

func consoleBox(size [2]uint) *specs.Box { return &specs.Box{Height: size[0], Width: size[1]} }

func newStream(s *stdio.Stream, tty, stdin bool) *Stream {
	out := &Stream{TTY: tty, Output: s}
	if stdin {
		out.Stdin = s.Stdin()
	}
	return out
}

// AttachContainer connects to a container's streams. On a container that does
// not run yet it connects to the next run, from its first byte.
func (e *Engine) AttachContainer(ctx context.Context, ref string) (stream *Stream, err error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	rec := c.rec
	if c.gone {
		c.mu.Unlock()
		return nil, fmt.Errorf("No such container: %s: %w", ref, errdefs.ErrNotFound)
	}
	switch c.st.Status {
	case container.StatePaused:
		c.mu.Unlock()
		return nil, fmt.Errorf("container %s is paused, unpause the container before attach: %w", c.id, errdefs.ErrConflict)
	case container.StateRestarting:
		c.mu.Unlock()
		return nil, fmt.Errorf("container %s is restarting, wait until the container is running: %w", c.id, errdefs.ErrConflict)
	}
	defer func() {
		if err == nil {
			stream.Detached = func() { e.emitContainer(c, events.ActionDetach, nil) }
			e.emitContainer(c, events.ActionAttach, nil)
		}
	}()
	if c.run == nil || c.run.dead {
		p := &pendingAttach{ready: make(chan struct{})}
		c.pending = append(slices.DeleteFunc(c.pending, (*pendingAttach).settled), p) // without those whose client has left
		c.mu.Unlock()
		s := &Stream{TTY: rec.Config.Tty, Output: p}
		if rec.Config.OpenStdin {
			s.Stdin = pendingStdin{p}
		}
		return s, nil
	}
	c.mu.Unlock()
	s, err := stdio.Attach(ctx, e.socket(c.id), withStdin(rec.Config.OpenStdin)...)
	if err != nil {
		return nil, fmt.Errorf("attach to container %q: %w", rec.Name, err)
	}
	return newStream(s, rec.Config.Tty, rec.Config.OpenStdin), nil
}

// pendingAttach is a stream that gets its substance when the container starts.
type pendingAttach struct {
	once  sync.Once
	ready chan struct{} // closed when s or err is set
	s     *stdio.Stream
	err   error
}

var errStreamClosed = errors.New("stream closed")

func (p *pendingAttach) settle(s *stdio.Stream, err error) {
	settled := false
	p.once.Do(func() { p.s, p.err, settled = s, err, true; close(p.ready) })
	if !settled && s != nil {
		s.Close()
	}
}

func (p *pendingAttach) settled() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

func (p *pendingAttach) Next() (byte, []byte, error) {
	if <-p.ready; p.err != nil {
		return 0, nil, p.err
	}
	return p.s.Next()
}

func (p *pendingAttach) Close() error {
	p.settle(nil, io.EOF)
	if p.s == nil {
		return nil
	}
	return p.s.Close()
}

type pendingStdin struct{ p *pendingAttach }

func (w pendingStdin) Write(b []byte) (int, error) {
	if <-w.p.ready; w.p.err != nil {
		return 0, errStreamClosed
	}
	return w.p.s.Write(b)
}

func (w pendingStdin) Close() error {
	if <-w.p.ready; w.p.err != nil {
		return nil
	}
	return w.p.s.CloseWrite()
}

// connectPending gives the streams that wait for the container's start their
// connection; called after the process was made and before it runs.
func (e *Engine) connectPending(ctx context.Context, c *ctr) {
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, p := range pending {
		if p.settled() { // its client has left: connecting and leaving would end the input
			continue
		}
		s, err := stdio.Attach(ctx, e.socket(c.id), withStdin(c.record().Config.OpenStdin)...)
		p.settle(s, err)
	}
}

// dropPending ends the streams that wait for a start that will not come.
func (c *ctr) dropPending(err error) {
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, p := range pending {
		p.settle(nil, err)
	}
}

// ResizeContainer sets the size of a container's terminal.
func (e *Engine) ResizeContainer(ctx context.Context, ref string, height, width uint) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if _, err := c.current(); err != nil {
		return err
	}
	if err := e.rt.Resize(ctx, c.id, "", int(width), int(height)); err != nil {
		return err
	}
	e.emitContainer(c, events.ActionResize, map[string]string{"height": fmt.Sprint(height), "width": fmt.Sprint(width)})
	return nil
}
