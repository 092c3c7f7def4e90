package api

import (
	"context"
	"net/http"
	"time"

	"gantry/engine"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// execEnd is how long a process may outlive its output before its client is
// told of the output's end.
const execEnd = 2 * time.Second

// execs runs processes besides containers' main ones.
type execs interface {
	CheckExec(ctx context.Context, id string) error
	CreateExec(ctx context.Context, ref string, req container.ExecCreateRequest) (id string, err error)
	StartExec(ctx context.Context, id string, opts engine.ExecStart) (*engine.Stream, error)
	ResizeExec(ctx context.Context, id string, height, width uint) error
	InspectExec(ctx context.Context, id string) (container.ExecInspectResponse, error)
}

type execRoutes struct {
	execs
	eventSource
}

func (x execRoutes) routes() []route {
	return []route{
		{"POST /containers/{id}/exec", x.create},
		{"POST /exec/{id}/start", x.start},
		{"POST /exec/{id}/resize", x.resize},
		{"GET /exec/{id}/json", x.inspect},
	}
}

func (x execRoutes) create(w http.ResponseWriter, r *http.Request) error {
	var req container.ExecCreateRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	if err := checkDetachKeys(req.DetachKeys); err != nil {
		return err
	}
	id, err := x.CreateExec(r.Context(), r.PathValue("id"), req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, container.ExecCreateResponse{ID: id})
}

// start takes the connection over before the process starts, as clients expect:
// they show no message of a refused upgrade. What fails then is written to the
// stream, and the exec's exit code tells.
func (x execRoutes) start(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	var req container.ExecStartRequest
	if err := decodeOptional(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	e, err := x.InspectExec(ctx, id)
	if err != nil {
		return err
	}
	if err := x.CheckExec(ctx, id); err != nil {
		return err
	}
	opts := engine.ExecStart{Detach: req.Detach, ConsoleSize: req.ConsoleSize}
	if req.Detach {
		ctx, cancel := changing(r)
		defer cancel()
		_, err := x.StartExec(ctx, id, opts)
		return err
	}
	died, err := x.died(ctx, e)
	if err != nil {
		return err
	}
	conn, err := hijack(w, r, e.ProcessConfig != nil && e.ProcessConfig.Tty)
	if err != nil {
		return err
	}
	defer conn.conn.Close()
	s, err := x.StartExec(ctx, id, opts)
	if err != nil {
		log.G(ctx).WithError(err).Debugf("exec %s", id)
		conn.write(stderr, []byte(messageOf(err)+"\r\n"))
		return nil
	}
	conn.serve(ctx, s, ports{
		stdin: e.OpenStdin, stdout: e.OpenStdout, stderr: e.OpenStderr || e.OpenStdout && conn.tty,
		closeStdin: true, detachKeys: string(e.DetachKeys), ended: died,
	})
	return nil
}

// died returns a function that waits until the exec's process has ended.
// Clients ask for the exit code as soon as the output has ended, which is a
// moment earlier.
func (x execRoutes) died(ctx context.Context, e container.ExecInspectResponse) (func(), error) {
	news, err := x.Events(ctx, time.Time{}, time.Time{}, engine.Filters{"event": {string(events.ActionExecDie)}, "container": {e.ContainerID}})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range news {
			if m.Actor.Attributes["execID"] == e.ID {
				return
			}
		}
	}()
	return func() {
		t := time.NewTimer(execEnd)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C: // it closed its output and goes on
		}
	}, nil
}

func (x execRoutes) resize(w http.ResponseWriter, r *http.Request) error {
	h, wd, err := size(r)
	if err != nil {
		return err
	}
	return x.ResizeExec(r.Context(), r.PathValue("id"), h, wd)
}

func (x execRoutes) inspect(w http.ResponseWriter, r *http.Request) error {
	e, err := x.InspectExec(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, e)
}
