package api

import (
	"context"
	"net/http"

	"gantry/engine"

	"github.com/moby/moby/api/types/volume"
)

// volumeStore keeps named volumes.
type volumeStore interface {
	CreateVolume(ctx context.Context, req volume.CreateRequest) (volume.Volume, error)
	ListVolumes(ctx context.Context, f engine.Filters) ([]volume.Volume, error)
	InspectVolume(ctx context.Context, name string) (volume.Volume, error)
	RemoveVolume(ctx context.Context, name string, force bool) error
	PruneVolumes(ctx context.Context, f engine.Filters) (volume.PruneReport, error)
}

type volumeRoutes struct{ volumeStore }

func (v volumeRoutes) routes() []route {
	return []route{
		{"GET /volumes", v.list},
		{"POST /volumes/create", v.create},
		{"GET /volumes/{name}", v.inspect},
		{"DELETE /volumes/{name}", v.remove},
		{"POST /volumes/prune", v.prune},
	}
}

func (v volumeRoutes) list(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	items, err := v.ListVolumes(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, volume.ListResponse{Volumes: list(items), Warnings: []string{}})
}

func (v volumeRoutes) create(w http.ResponseWriter, r *http.Request) error {
	var req volume.CreateRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	made, err := v.CreateVolume(ctx, req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made)
}

func (v volumeRoutes) inspect(w http.ResponseWriter, r *http.Request) error {
	got, err := v.InspectVolume(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

func (v volumeRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := changing(r)
	defer cancel()
	return noContent(w, v.RemoveVolume(ctx, r.PathValue("name"), flag(r, "force")))
}

func (v volumeRoutes) prune(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	report, err := v.PruneVolumes(ctx, f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}
