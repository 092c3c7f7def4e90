package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
)

const (
	maxTags    = 200_000 // of a registry that has no end of them
	maxTagPage = 4 << 20 // bytes
)

// Tags lists the tags of a repository, as complete references, in the
// registry's order. Errors say what the registry answered, see registryError.
func (r *Runtime) Tags(ctx context.Context, repository string, auth Auth) ([]string, error) {
	named, err := reference.ParseNormalizedNamed(repository)
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w: %w", repository, err, errdefs.ErrInvalidArgument)
	}
	hosts, err := r.cfg.Registries.hosts(reference.Domain(named), auth)
	if err != nil {
		return nil, err
	}
	ctx = docker.WithScope(r.with(ctx), "repository:"+reference.Path(named)+":pull")
	var tags []string
	for _, h := range hosts {
		if tags, err = tagsOf(ctx, h, reference.Path(named)); err == nil {
			break
		}
	}
	if err != nil {
		return nil, registryError(named.Name(), err)
	}
	out := make([]string, 0, len(tags))
	for _, t := range tags {
		tagged, err := reference.WithTag(reference.TrimNamed(named), t)
		if err != nil {
			return nil, fmt.Errorf("repository %q has a tag %q: %w", repository, t, err)
		}
		out = append(out, tagged.String())
	}
	return out, nil
}

// tagsOf reads all pages. Source: OCI distribution specification, listing tags.
func tagsOf(ctx context.Context, h docker.RegistryHost, path string) (tags []string, err error) {
	next := &url.URL{Scheme: h.Scheme, Host: h.Host, Path: h.Path + "/" + path + "/tags/list"}
	for seen := map[string]bool{}; !seen[next.String()]; {
		seen[next.String()] = true
		page, link, err := tagPage(ctx, h, next.String())
		if err != nil {
			return nil, err
		}
		if tags = append(tags, page...); len(tags) > maxTags || len(seen) > maxTags {
			return nil, fmt.Errorf("list of tags of %s: more than %d: %w", path, maxTags, errdefs.ErrResourceExhausted)
		}
		link, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		if !ok {
			return tags, nil
		}
		to, err := next.Parse(link)
		if err != nil {
			return nil, fmt.Errorf("next page of the list of tags: %w", err)
		}
		next = &url.URL{Scheme: h.Scheme, Host: h.Host, Path: to.Path, RawQuery: to.RawQuery} // never to others, with the credentials
	}
	return nil, fmt.Errorf("list of tags of %s: page %q comes again: %w", path, next.RequestURI(), errdefs.ErrUnavailable)
}

func tagPage(ctx context.Context, h docker.RegistryHost, address string) (tags []string, link string, err error) {
	resp, err := ask(ctx, h, address)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	var page struct{ Tags []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxTagPage)).Decode(&page); err != nil {
		return nil, "", fmt.Errorf("list of tags: %w", err)
	}
	return page.Tags, resp.Header.Get("Link"), nil
}

// ask sends a GET, twice when the registry first tells how to authorize it.
func ask(ctx context.Context, h docker.RegistryHost, address string) (*http.Response, error) {
	var seen []*http.Response
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		if h.Authorizer != nil {
			if err := h.Authorizer.Authorize(ctx, req); err != nil {
				return nil, err
			}
		}
		resp, err := h.Client.Do(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK {
			return resp, nil
		}
		failed := remoteerrors.NewUnexpectedStatusErr(resp)
		resp.Body.Close()
		seen = append(seen, resp)
		if resp.StatusCode != http.StatusUnauthorized || h.Authorizer == nil || len(seen) > 2 {
			return nil, failed
		}
		if err := h.Authorizer.AddResponses(ctx, seen); err != nil {
			return nil, failed
		}
	}
}
