package api

import (
	"context"
	"fmt"
	"net/http"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

// networkStore keeps networks.
type networkStore interface {
	CreateNetwork(ctx context.Context, req network.CreateRequest) (network.CreateResponse, error)
	ListNetworks(ctx context.Context, f engine.Filters) ([]network.Summary, error)
	InspectNetwork(ctx context.Context, ref string) (network.Inspect, error)
	RemoveNetwork(ctx context.Context, ref string) error
}

// networker puts containers on networks, and takes away what nobody uses.
type networker interface {
	ConnectNetwork(ctx context.Context, ref string, req network.ConnectRequest) error
	DisconnectNetwork(ctx context.Context, ref string, req network.DisconnectRequest) error
	PruneNetworks(ctx context.Context, f engine.Filters) (network.PruneReport, error)
}

type networkRoutes struct {
	networkStore
	networker
}

func (n networkRoutes) routes() []route {
	return []route{
		{"GET /networks", n.list},
		{"GET /networks/{$}", n.list}, // as old clients write it
		{"POST /networks/create", n.create},
		{"GET /networks/{id}", n.inspect},
		{"DELETE /networks/{id}", n.remove},
		{"POST /networks/{id}/connect", n.connect},
		{"POST /networks/{id}/disconnect", n.disconnect},
		{"POST /networks/prune", n.prune},
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
	if scope := r.URL.Query().Get("scope"); scope != "" && scope != got.Scope {
		return fmt.Errorf("network %s not found: %w", r.PathValue("id"), errdefs.ErrNotFound)
	}
	return writeJSON(w, http.StatusOK, got)
}

func (n networkRoutes) connect(w http.ResponseWriter, r *http.Request) error {
	var req network.ConnectRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	if err := n.ConnectNetwork(ctx, r.PathValue("id"), req); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (n networkRoutes) disconnect(w http.ResponseWriter, r *http.Request) error {
	var req network.DisconnectRequest
	if err := decode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	if err := n.DisconnectNetwork(ctx, r.PathValue("id"), req); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (n networkRoutes) prune(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	report, err := n.PruneNetworks(ctx, f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}

func (n networkRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := changing(r)
	defer cancel()
	return noContent(w, n.RemoveNetwork(ctx, r.PathValue("id")))
}
