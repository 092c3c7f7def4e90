package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// lifecycle makes containers, runs and ends them.
type lifecycle interface {
	CreateContainer(ctx context.Context, name, platform string, req container.CreateRequest) (container.CreateResponse, error)
	StartContainer(ctx context.Context, ref string) error
	StopContainer(ctx context.Context, ref string, opts engine.StopOptions) error
	RestartContainer(ctx context.Context, ref string, opts engine.StopOptions) error
	RemoveContainer(ctx context.Context, ref string, opts engine.RemoveOptions) error
}

// control acts on containers that exist.
type control interface {
	KillContainer(ctx context.Context, ref, signal string) error
	PauseContainer(ctx context.Context, ref string) error
	UnpauseContainer(ctx context.Context, ref string) error
	RenameContainer(ctx context.Context, ref, name string) error
	WaitContainer(ctx context.Context, ref string, cond container.WaitCondition) (<-chan container.WaitResponse, error)
}

// inspector tells of containers.
type inspector interface {
	ListContainers(ctx context.Context, opts engine.ListOptions) ([]container.Summary, error)
	InspectContainer(ctx context.Context, ref string) (container.InspectResponse, error)
	TopContainer(ctx context.Context, ref string, psArgs []string) (container.TopResponse, error)
}

type containerRoutes struct {
	lifecycle
	control
	inspector
	meter
}

func (c containerRoutes) routes() []route {
	return []route{
		{"GET /containers/json", c.list},
		{"POST /containers/create", c.create},
		{"GET /containers/{id}/json", c.inspect},
		{"GET /containers/{id}/top", c.top},
		{"POST /containers/{id}/start", withoutBody(c.act(c.StartContainer))},
		{"POST /containers/{id}/stop", c.stop(c.StopContainer)},
		{"POST /containers/{id}/restart", c.stop(c.RestartContainer)},
		{"POST /containers/{id}/kill", c.kill},
		{"POST /containers/{id}/pause", c.act(c.PauseContainer)},
		{"POST /containers/{id}/unpause", c.act(c.UnpauseContainer)},
		{"POST /containers/{id}/rename", c.rename},
		{"POST /containers/{id}/wait", c.wait},
		{"DELETE /containers/{id}", c.remove},
	}
}

func (c containerRoutes) list(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit")
	if err != nil {
		return err
	}
	items, err := c.ListContainers(r.Context(), engine.ListOptions{All: flag(r, "all"), Limit: max(limit, 0), Size: flag(r, "size"), Filters: f})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(items))
}

func (c containerRoutes) create(w http.ResponseWriter, r *http.Request) error {
	var req container.CreateRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	if req.Config == nil {
		return badRequest("config cannot be empty in order to create a container")
	}
	if req.HostConfig == nil {
		req.HostConfig = &container.HostConfig{}
	}
	nameDefaultNetwork(&req)
	ctx, cancel := changing(r)
	defer cancel()
	created, err := c.CreateContainer(ctx, strings.TrimPrefix(r.URL.Query().Get("name"), "/"), r.URL.Query().Get("platform"), req)
	if err != nil {
		return err
	}
	created.Warnings = list(created.Warnings)
	return writeJSON(w, http.StatusCreated, created)
}

// nameDefaultNetwork says "bridge" where docker run says "default".
func nameDefaultNetwork(req *container.CreateRequest) {
	if req.NetworkingConfig == nil {
		return
	}
	ends := req.NetworkingConfig.EndpointsConfig
	if end, ok := ends[network.NetworkDefault]; ok {
		delete(ends, network.NetworkDefault)
		ends[network.NetworkBridge] = end
	}
}

func (c containerRoutes) inspect(w http.ResponseWriter, r *http.Request) error {
	got, err := c.InspectContainer(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if flag(r, "size") {
		rw, rootFS, err := c.SizeContainer(r.Context(), got.ID)
		if err != nil {
			return err
		}
		got.SizeRw, got.SizeRootFs = &rw, &rootFS
	}
	return writeJSON(w, http.StatusOK, got)
}

func (c containerRoutes) top(w http.ResponseWriter, r *http.Request) error {
	args := strings.Fields(r.URL.Query().Get("ps_args"))
	if len(args) == 0 {
		args = []string{"-ef"}
	}
	got, err := c.TopContainer(r.Context(), r.PathValue("id"), args)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

// act is a route that does one thing to a container.
func (c containerRoutes) act(do func(ctx context.Context, ref string) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := changing(r)
		defer cancel()
		return noContent(w, do(ctx, r.PathValue("id")))
	}
}

// stop is act with a signal and a timeout in seconds.
func (c containerRoutes) stop(do func(context.Context, string, engine.StopOptions) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		opts := engine.StopOptions{Signal: r.URL.Query().Get("signal")}
		if r.URL.Query().Get("t") != "" {
			t, err := number(r, "t")
			if err != nil {
				return err
			}
			timeout := time.Duration(t) * time.Second
			opts.Timeout = &timeout
		}
		ctx, cancel := changing(r)
		defer cancel()
		return noContent(w, do(ctx, r.PathValue("id"), opts))
	}
}

func (c containerRoutes) kill(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := changing(r)
	defer cancel()
	return noContent(w, c.KillContainer(ctx, r.PathValue("id"), r.URL.Query().Get("signal")))
}

func (c containerRoutes) rename(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := changing(r)
	defer cancel()
	return noContent(w, c.RenameContainer(ctx, r.PathValue("id"), strings.TrimPrefix(r.URL.Query().Get("name"), "/")))
}

func (c containerRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	if flag(r, "link") {
		return fmt.Errorf("removing a link between containers is not implemented by Gantry: %w", errdefs.ErrNotImplemented)
	}
	ctx, cancel := changing(r)
	defer cancel()
	return noContent(w, c.RemoveContainer(ctx, r.PathValue("id"), engine.RemoveOptions{Force: flag(r, "force"), Volumes: flag(r, "v")}))
}

// wait sends the headers once the wait is registered: clients start the
// container as soon as they have them.
func (c containerRoutes) wait(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := streaming(r)
	defer cancel()
	ended, err := c.WaitContainer(ctx, r.PathValue("id"), container.WaitCondition(r.URL.Query().Get("condition")))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return nil
	}
	select {
	case got := <-ended:
		if ctx.Err() == nil {
			return writeBody(w, got)
		}
	case <-ctx.Done():
	}
	panic(http.ErrAbortHandler) // no answer: the connection breaks, as a wait for a daemon that went away must
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
