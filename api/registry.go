package api

import (
	"context"
	"net/http"
	"strings"

	"gantry/engine"

	"github.com/moby/moby/api/types/registry"
)

// registries answers what only registries know.
type registries interface {
	Login(ctx context.Context, address string, auth engine.Auth) (registry.AuthResponse, error)
	SearchImages(ctx context.Context, term string, limit int, f engine.Filters, auth engine.Auth) ([]registry.SearchResult, error)
	InspectDistribution(ctx context.Context, ref string, auth engine.Auth) (registry.DistributionInspect, error)
}

type registryRoutes struct{ registries }

func (rr registryRoutes) routes() []route {
	return []route{
		{"POST /auth", rr.login},
		{"GET /images/search", rr.search},
		{"GET /distribution/{name...}", rr.distribution},
	}
}

func (rr registryRoutes) login(w http.ResponseWriter, r *http.Request) error {
	var c registry.AuthConfig
	if err := decode(w, r, &c); err != nil {
		return err
	}
	got, err := rr.Login(r.Context(), c.ServerAddress, authOf(c))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

func (rr registryRoutes) search(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit")
	if err != nil {
		return err
	}
	auth, err := registryAuth(r.Header.Get(registry.AuthHeader))
	if err != nil {
		return err
	}
	got, err := rr.SearchImages(r.Context(), r.URL.Query().Get("term"), limit, f, auth)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(got))
}

func (rr registryRoutes) distribution(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(r.PathValue("name"), "/json")
	if !ok || name == "" {
		return notFound(w, r)
	}
	auth, err := registryAuth(r.Header.Get(registry.AuthHeader))
	if err != nil {
		return err
	}
	got, err := rr.InspectDistribution(r.Context(), name, auth)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}
