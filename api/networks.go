package api

import (
	"context"
	"net/http"

	"gantry/engine"

	"github.com/moby/moby/api/types/network"
)

// networkStore keeps networks.
type networkStore interface {
	CreateNetwork(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error)
	ListNetworks(ctx context.Context, f engine.Filters) ([]network.Summary, error)
	InspectNetwork(ctx context.Context, ref string) (network.Inspect, error)
	RemoveNetwork(ctx context.Context, ref string) error
}

type networkRoutes struct{ networkStore }

func (n networkRoutes) routes() []route {
	return []route{
		{"GET /networks", n.list},
		{"GET /networks/{$}", n.list}, // as old clients write it
		{"POST /networks/create", n.create},
		{"GET /networks/{id}", n.inspect},
		{"DELETE /networks/{id}", n.remove},
	}
}

func (n networkRoutes) list(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	items, err := n.ListNetworks(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(items))
}

func (n networkRoutes) create(w http.ResponseWriter, r *http.Request) error {
	var req network.CreateRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	made, err := n.CreateNetwork(ctx, req)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, made)
}

func (n networkRoutes) inspect(w http.ResponseWriter, r *http.Request) error {
	got, err := n.InspectNetwork(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

func (n networkRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := changing(r)
	defer cancel()
	return noContent(w, n.RemoveNetwork(ctx, r.PathValue("id")))
}
