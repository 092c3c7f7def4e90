package api

import (
	"context"
	"net/http"

	"github.com/moby/moby/api/types/container"
)

// updater changes what containers may use.
type updater interface {
	UpdateContainer(ctx context.Context, ref string, req container.UpdateConfig) (container.UpdateResponse, error)
}

type updateRoutes struct{ updater }

func (u updateRoutes) routes() []route {
	return []route{{"POST /containers/{id}/update", u.update}}
}

func (u updateRoutes) update(w http.ResponseWriter, r *http.Request) error {
	var req container.UpdateConfig
	if err := decode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	got, err := u.UpdateContainer(ctx, r.PathValue("id"), req)
	if err != nil {
		return err
	}
	got.Warnings = list(got.Warnings)
	return writeJSON(w, http.StatusOK, got)
}
