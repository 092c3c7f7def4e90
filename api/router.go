// Package api serves the Docker Engine API, as far as Gantry has it, and the
// routes for projects. It decides nothing: it reads requests, asks the engine
// or the scheduler, and writes what they answer.
package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// handler serves a request. Its error is answered with the status of the
// error's class, unless the response has begun.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is a pattern of http.ServeMux, without an API version, and its handler.
type route struct {
	pattern string
	handle  handler
}

// newHandler returns the whole API over b. Version is the daemon's own.
func newHandler(b backends, version string) http.Handler {
	mux := http.NewServeMux()
	for _, routes := range [][]route{
		updateRoutes{b.updater}.routes(),
		containerRoutes{b.lifecycle, b.control, b.inspector, b.meter}.routes(),
		meterRoutes{b.meter}.routes(),
		logRoutes{b.logs}.routes(),
		attachRoutes{b.attacher}.routes(),
		execRoutes{b.execs, b.events}.routes(),
		archiveRoutes{b.files}.routes(),
		imageRoutes{b.images, b.imageSource, b.archives, b.pusher}.routes(),
		registryRoutes{b.registries}.routes(),
		diskRoutes{b.disk}.routes(),
		volumeRoutes{b.volumes}.routes(),
		networkRoutes{b.networks, b.networker}.routes(),
		eventRoutes{b.events}.routes(),
		systemRoutes{b.host, version}.routes(),
		projectRoutes{b.projects, b.driver, b.inspector}.routes(),
		buildRoutes{b.builds}.routes(),
		imageBuildRoutes{b.builder}.routes(),
		missingRoutes(),
		{{"/", notFound}},
	} {
		for _, rt := range routes {
			mux.Handle(rt.pattern, serve(rt.handle))
		}
	}
	return http.NewCrossOriginProtection().Handler(root{mux, "Gantry/" + version + " (linux)"})
}

func serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = queryFrom(r)
		t := &tracked{ResponseWriter: w, asked: r}
		err := h(t, r.WithContext(context.WithValue(r.Context(), trackedKey{}, t)))
		if err == nil {
			return
		}
		if t.begun {
			log.G(r.Context()).WithError(err).Debugf("%s %s: after the response began", r.Method, r.URL.Path)
			return
		}
		writeError(w, r, err)
	})
}

// tracked remembers whether the response has begun, and what was asked.
type tracked struct {
	http.ResponseWriter
	asked *http.Request
	begun bool
}

type trackedKey struct{}

func (t *tracked) WriteHeader(status int) {
	t.begun = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(p []byte) (int, error) {
	t.begun = true
	return t.ResponseWriter.Write(p)
}

// Hijack takes the connection: there is nobody to answer an error to after it.
func (t *tracked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.begun = true
	return http.NewResponseController(t.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// root is in front of all routes: headers, versions, and who may ask.
type root struct {
	next   http.Handler
	server string
}

func (h root) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Api-Version", newest.String())
	head.Set("Docker-Experimental", "false")
	head.Set("Ostype", "linux")
	head.Set("Server", h.server)
	if err := checkHost(r); err != nil {
		writeError(w, r, err)
		return
	}
	r, err := unversioned(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	h.next.ServeHTTP(w, r)
}

// checkHost refuses requests over TCP that name another host than this one: a
// web page can make a browser resolve its own name to 127.0.0.1.
func checkHost(r *http.Request) error {
	if _, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); !ok {
		return nil
	}
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	if name == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("host %q is not this machine's loopback: %w", r.Host, errdefs.ErrPermissionDenied)
}
