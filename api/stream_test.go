package api

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"gantry/engine"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

var errClosed = errors.New("closed")

type piece struct {
	stream byte
	p      []byte
}

// process plays a container's or an exec's process: a test writes its output
// and reads its input.
type process struct {
	out    chan piece
	closed chan struct{} // the server has let go
	once   sync.Once

	stdin     *io.PipeReader
	stdinSide *io.PipeWriter
}

func newProcess() *process {
	r, w := io.Pipe()
	return &process{out: make(chan piece), closed: make(chan struct{}), stdin: r, stdinSide: w}
}

func (p *process) stream(tty bool) *engine.Stream {
	return &engine.Stream{TTY: tty, Stdin: p.stdinSide, Output: p}
}

func (p *process) Next() (byte, []byte, error) {
	select {
	case c, ok := <-p.out:
		if !ok {
			return 0, nil, io.EOF
		}
		return c.stream, c.p, nil
	case <-p.closed:
		return 0, nil, errClosed
	}
}

func (p *process) Close() error {
	p.once.Do(func() { close(p.closed); p.stdinSide.CloseWithError(errClosed) })
	return nil
}

// write gives the server a piece of output; it returns when that was taken.
func (p *process) write(stream byte, s string) {
	select {
	case p.out <- piece{stream, []byte(s)}:
	case <-p.closed:
	}
}

func (p *process) exit() { close(p.out) }

// box is the container around a process.
type box struct {
	refuser
	config  container.Config
	process *process
	logged  []engine.LogEntry
	deaths  chan events.Message // of execs; nil: at once
}

func (b box) InspectContainer(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{ID: "full-id", Config: &b.config}, nil
}

func (b box) AttachContainer(_ context.Context, ref string) (*engine.Stream, error) {
	if ref != "full-id" {
		return nil, errClosed
	}
	return b.process.stream(b.config.Tty), nil
}

func (b box) ContainerLogs(ctx context.Context, _ string, _ engine.LogOptions) (engine.LogReader, bool, error) {
	entries := make(chan engine.LogEntry, len(b.logged))
	for _, e := range b.logged {
		entries <- e
	}
	close(entries)
	return &record{entries: entries, ctx: ctx, closed: make(chan struct{})}, b.config.Tty, nil
}

func (b box) InspectExec(_ context.Context, id string) (container.ExecInspectResponse, error) {
	return container.ExecInspectResponse{ID: id, OpenStdin: true, OpenStdout: true, OpenStderr: true,
		ProcessConfig: &container.ExecProcessConfig{Tty: b.config.Tty}}, nil
}

func (b box) CheckExec(context.Context, string) error { return nil }

func (b box) StartExec(_ context.Context, _ string, o engine.ExecStart) (*engine.Stream, error) {
	if b.err != nil {
		return nil, b.err
	}
	if o.Detach {
		return nil, nil
	}
	return b.process.stream(b.config.Tty), nil
}

func (b box) Events(ctx context.Context, _, _ time.Time, _ engine.Filters) (<-chan events.Message, error) {
	if b.deaths != nil {
		return b.deaths, nil
	}
	nothing := make(chan events.Message)
	close(nothing)
	return nothing, nil
}

// record plays a container's log.
type record struct {
	entries chan engine.LogEntry
	ctx     context.Context // ends Next, as the engine's readers have it
	closed  chan struct{}
	once    sync.Once
}

func (r *record) Next() (engine.LogEntry, error) {
	select {
	case e, ok := <-r.entries:
		if !ok {
			return e, io.EOF
		}
		return e, nil
	case <-r.ctx.Done():
		return engine.LogEntry{}, r.ctx.Err()
	}
}

func (r *record) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}
