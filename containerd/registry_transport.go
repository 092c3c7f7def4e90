package containerd

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// stalled is how long a registry may neither send nor take a byte, which is
// also the time that it has to store what it got.
const stalled = 5 * time.Minute

// client speaks with one registry.
func (c Registries) client(name string) (*http.Client, error) {
	conf, err := c.tls(name)
	if err != nil {
		return nil, err
	}
	insecure := c.insecure(name)
	conf.InsecureSkipVerify = insecure
	var transport http.RoundTripper = registryTransport(conf)
	if insecure {
		transport = docker.NewHTTPFallback(transport)
	}
	return &http.Client{Transport: wary{explaining{transport}}, CheckRedirect: redirect(insecure)}, nil
}

func registryTransport(conf *tls.Config) *http.Transport {
	t := docker.DefaultHTTPTransport(conf)
	t.ResponseHeaderTimeout = stalled
	t.ReadBufferSize, t.WriteBufferSize = 64<<10, 64<<10
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &lively{Conn: c}, nil
	}
	return t
}

// lively is a connection that ends when nothing moves on it.
type lively struct {
	net.Conn
	moved atomic.Int64 // when the deadline was last put off, in Unix seconds
}

func (l *lively) Read(p []byte) (int, error) {
	l.extend()
	return l.Conn.Read(p)
}

func (l *lively) Write(p []byte) (int, error) {
	l.extend()
	return l.Conn.Write(p)
}

func (l *lively) extend() {
	now := time.Now()
	if last := l.moved.Load(); now.Unix() != last && l.moved.CompareAndSwap(last, now.Unix()) {
		_ = l.Conn.SetDeadline(now.Add(stalled)) // a closed connection tells it itself
	}
}

// redirect follows a registry to where its contents are, without what opens the
// registry. Go's client takes another port, or a host below, for the same one.
func redirect(insecure bool) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		first, last := via[0].URL, via[len(via)-1].URL
		switch {
		case len(via) >= 10:
			return errors.New("stopped after 10 redirects")
		case last.Scheme == "https" && req.URL.Scheme != "https" && !insecure:
			return fmt.Errorf("registry %q leads away from HTTPS, to %s://%s; list it in insecure-registries to allow that: %w", first.Host, req.URL.Scheme, req.URL.Host, errdefs.ErrFailedPrecondition)
		case !sameServer(first, req.URL):
			for _, h := range []string{"Authorization", "Cookie"} {
				req.Header.Del(h)
			}
		}
		return nil
	}
}

func sameServer(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); u.Scheme+p != "https443" && u.Scheme+p != "http80" {
			return p
		}
		return ""
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// maxExplanation is how many bytes of a refusal are read.
const maxExplanation = 64 << 10

// explaining asks again with GET when HEAD is refused: the answer to HEAD has
// no body, and the body says why.
type explaining struct{ http.RoundTripper }

func (e explaining) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.RoundTripper.RoundTrip(req)
	if err != nil || req.Method != http.MethodHead || resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return resp, err
	}
	get := req.Clone(req.Context())
	get.Method = http.MethodGet
	full, err := e.RoundTripper.RoundTrip(get)
	if err != nil {
		return resp, nil
	}
	if full.StatusCode != resp.StatusCode {
		full.Body.Close()
		return resp, nil
	}
	defer full.Body.Close()
	said, err := io.ReadAll(io.LimitReader(full.Body, maxExplanation))
	if err != nil {
		return resp, nil
	}
	resp.Body.Close()
	full.Body = io.NopCloser(bytes.NewReader(said)) // is read after it was closed, too
	return full, nil
}
