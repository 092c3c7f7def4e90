package api

import (
	"context"
	"net/http"

	"gantry/engine"

	"github.com/moby/moby/api/types/container"
)

// meter tells what containers use, and clears away those that are not used.
type meter interface {
	StatsContainer(ctx context.Context, ref string) (<-chan container.StatsResponse, error)
	StatsContainerOnce(ctx context.Context, ref string, previous bool) (container.StatsResponse, error)
	SizeContainer(ctx context.Context, ref string) (rw, rootFS int64, err error)
	PruneContainers(ctx context.Context, f engine.Filters) (container.PruneReport, error)
}

type meterRoutes struct{ meter }

func (m meterRoutes) routes() []route {
	return []route{
		{"GET /containers/{id}/stats", m.stats},
		{"POST /containers/prune", m.prune},
	}
}

func (m meterRoutes) stats(w http.ResponseWriter, r *http.Request) error {
	stream, oneShot := !r.URL.Query().Has("stream") || flag(r, "stream"), flag(r, "one-shot")
	if stream && oneShot {
		return badRequest("cannot have stream=true and one-shot=true")
	}
	ctx, cancel := streaming(r)
	defer cancel()
	if !stream {
		s, err := m.StatsContainerOnce(ctx, r.PathValue("id"), !oneShot)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, s)
	}
	samples, err := m.StatsContainer(ctx, r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	control.Flush()
	for s := range samples {
		if writeBody(w, s) != nil || control.Flush() != nil {
			return nil // the client is gone
		}
	}
	return nil
}

func (m meterRoutes) prune(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	report, err := m.PruneContainers(ctx, f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}
