package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

const (
	hubIndex    = "index.docker.io" // where Docker Hub searches
	maxSearched = 8 << 20           // bytes of an answer
)

// Found is a repository that a registry's search has found.
type Found struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Stars       int    `json:"star_count"`
	Official    bool   `json:"is_official"`
}

// Search asks a registry for repositories: a term is looked for on Docker Hub,
// unless it begins with a registry's name, as in reg.example/term. Source:
// Docker Registry HTTP API V1, search; ErrNotFound where a registry has none.
func (r *Runtime) Search(ctx context.Context, term string, limit int, a Auth) ([]Found, error) {
	registry, host, query := "docker.io", hubIndex, term
	if first, rest, ok := strings.Cut(term, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		registry, host, query = first, first, rest
	}
	if registryOf(registry) == "docker.io" {
		registry, host = "docker.io", hubIndex
		query = strings.TrimPrefix(query, "library/")
	}
	h, err := r.cfg.Registries.host(host, a)
	if err != nil {
		return nil, err
	}
	address := url.URL{Scheme: h.Scheme, Host: h.Host, Path: "/v1/search", RawQuery: url.Values{"q": {query}, "n": {strconv.Itoa(limit)}}.Encode()}
	resp, err := searched(ctx, h.Client, address.String(), a)
	var status remoteerrors.ErrUnexpectedStatus
	switch {
	case errors.As(err, &status) && status.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("registry %q has no search: %w", registry, errdefs.ErrNotFound)
	case errors.As(err, &status):
		return nil, fmt.Errorf("search for %q: registry %q answers %s: %w", query, registry, answerText(status), statusClass(status.StatusCode))
	case err != nil:
		return nil, reachError("search", registry, err)
	}
	defer resp.Body.Close()
	var out struct {
		Results []Found `json:"results"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxSearched)).Decode(&out); err != nil {
		return nil, fmt.Errorf("search for %q: the answer of registry %q cannot be read: %w: %w", query, registry, err, errdefs.ErrUnavailable)
	}
	return out.Results, nil
}

func searched(ctx context.Context, client *http.Client, address string, a Auth) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case a.RegistryToken != "":
		req.Header.Set("Authorization", "Bearer "+a.RegistryToken)
	case a.Username != "" && a.IdentityToken == "":
		req.SetBasicAuth(a.Username, a.Password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, remoteerrors.NewUnexpectedStatusErr(resp)
	}
	return resp, nil
}
