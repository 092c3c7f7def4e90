package build

import (
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/source/git"
	bkhttp "github.com/moby/buildkit/source/http"
	"github.com/moby/buildkit/util/tracing"
	"github.com/moby/buildkit/worker/base"
)

// contextHost is the host of URLs under which BuildKit finds build contexts
// that clients have sent. It fetches and unpacks them as it does with those of
// the web: nothing in an archive can reach outside.
const contextHost = "gantry-context"

// contexts are those that are being sent. Each can be read once.
type contexts struct {
	mu   sync.Mutex
	open map[string]io.Reader
	web  http.RoundTripper
}

func newContexts() *contexts {
	return &contexts{open: map[string]io.Reader{}, web: tracing.DefaultTransport}
}

// offer makes r available under a URL until withdrawn.
func (c *contexts) offer(r io.Reader) (url string, withdraw func()) {
	id := identity.NewID()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[id] = r
	return "http://" + contextHost + "/" + id, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, id)
	}
}

// RoundTrip implements http.RoundTripper.
func (c *contexts) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != contextHost {
		resp, err := c.web.RoundTrip(req)
		if err == nil && req.Method == http.MethodGet && resp.StatusCode >= http.StatusBadRequest {
			resp.Body.Close() // of a status alone BuildKit does not say whose it is
			return nil, fmt.Errorf("the server answers %s", resp.Status)
		}
		return resp, err
	}
	id := req.URL.Path[1:]
	c.mu.Lock()
	r, ok := c.open[id]
	delete(c.open, id)
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("build context %q was not sent, or was read already", id)
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Body: io.NopCloser(r), ContentLength: -1, Request: req}, nil
}

// serveTo makes a worker find them, and those in git repositories also if git
// is installed only after the worker was started.
func (c *contexts) serveTo(w *base.Worker) error {
	repos, err := git.NewSource(git.Opt{CacheAccessor: w.CacheMgr, RegistryHosts: w.RegistryHosts})
	if err != nil {
		return err
	}
	w.GitSource = repos
	w.SourceManager.Register(repos)
	s, err := bkhttp.NewSource(bkhttp.Opt{CacheAccessor: w.CacheMgr, Transport: c})
	if err != nil {
		return err
	}
	w.HTTPSource = s
	w.SourceManager.Register(s)
	return nil
}
