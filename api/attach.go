package api

import (
	"context"
	"net/http"

	"gantry/engine"

	"github.com/moby/moby/api/types/container"
)

// attacher connects clients to containers' processes.
type attacher interface {
	InspectContainer(ctx context.Context, ref string) (container.InspectResponse, error)
	AttachContainer(ctx context.Context, ref string) (*engine.Stream, error)
	ResizeContainer(ctx context.Context, ref string, height, width uint) error
	ContainerLogs(ctx context.Context, ref string, opts engine.LogOptions) (engine.LogReader, bool, error)
}

type attachRoutes struct{ attacher }

func (a attachRoutes) routes() []route {
	return []route{
		{"POST /containers/{id}/attach", a.attach(hijack)},
		{"GET /containers/{id}/attach/ws", a.attach(upgrade)},
		{"POST /containers/{id}/resize", a.resize},
	}
}

// attach is a route that connects a client by a connection that take takes over.
func (a attachRoutes) attach(take func(w http.ResponseWriter, r *http.Request, tty bool) (*duplex, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		want := ports{stdin: flag(r, "stdin"), stdout: flag(r, "stdout"), stderr: flag(r, "stderr"), detachKeys: r.URL.Query().Get("detachKeys")}
		if err := checkDetachKeys(want.detachKeys); err != nil {
			return err
		}
		ctx, cancel := streaming(r)
		defer cancel()
		c, err := a.InspectContainer(ctx, r.PathValue("id"))
		if err != nil {
			return err
		}
		want.closeStdin = c.Config.StdinOnce
		var s *engine.Stream
		if flag(r, "stream") {
			if s, err = a.AttachContainer(ctx, c.ID); err != nil {
				return err
			}
			defer s.Close()
		}
		var past engine.LogReader
		if flag(r, "logs") && (want.stdout || want.stderr) {
			if past, _, err = a.ContainerLogs(ctx, c.ID, engine.LogOptions{Stdout: want.stdout, Stderr: want.stderr, Tail: -1}); err != nil {
				return err
			}
			defer past.Close()
		}
		conn, err := take(w, r, c.Config.Tty)
		if err != nil {
			return err
		}
		defer conn.conn.Close()
		// a client that does not read is not waited for when the server stops; a
		// websocket's deadlines would not end a write that has begun
		stop := context.AfterFunc(ctx, func() { conn.conn.Close() })
		defer stop()
		if past != nil && !conn.replay(past) {
			return nil
		}
		if s != nil {
			conn.serve(ctx, s, want)
			return nil
		}
		conn.close(nil)
		return nil
	}
}

// replay sends what a container has written so far.
func (d *duplex) replay(past engine.LogReader) bool {
	for {
		e, err := past.Next()
		if err != nil {
			return true
		}
		if d.write(streamOf(e), e.Line) != nil {
			return false
		}
	}
}

func (a attachRoutes) resize(w http.ResponseWriter, r *http.Request) error {
	h, wd, err := size(r)
	if err != nil {
		return err
	}
	return a.ResizeContainer(r.Context(), r.PathValue("id"), h, wd)
}
