package api

import (
	"fmt"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/common"
)

// missing are the endpoints of the Engine API that are not served yet. Source:
// github.com/moby/moby/api, swagger.yaml; a test compares.
var missing = []string{
	"PUT /volumes/{name}",
	"POST /plugins/{name...}",
	"DELETE /plugins/{name...}",
	"GET /plugins/privileges",
	// whole families
	"/nodes", "/nodes/{id...}",
	"/swarm", "/swarm/{verb...}",
	"/services", "/services/{id...}",
	"/tasks", "/tasks/{id...}",
	"/secrets", "/secrets/{id...}",
	"/configs", "/configs/{id...}",
}

func missingRoutes() []route {
	out := make([]route, 0, len(missing))
	for _, pattern := range missing {
		out = append(out, route{pattern, func(_ http.ResponseWriter, r *http.Request) error {
			return notImplemented(r.Method + " " + r.URL.Path)
		}})
	}
	return out
}

func notImplemented(endpoint string) error {
	return fmt.Errorf("%s is not implemented by Gantry: %w", endpoint, errdefs.ErrNotImplemented)
}

func notFound(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusNotFound, common.ErrorResponse{Message: "page not found"})
}
