package api

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/containerd/errdefs"
)

// buildServer is the engine's BuildKit.
type buildServer interface {
	ServeBuildKit(ctx context.Context, conn net.Conn) error
	ServeSession(ctx context.Context, conn net.Conn, header map[string][]string) error
}

type buildRoutes struct{ buildServer }

func (b buildRoutes) routes() []route {
	return []route{
		{"POST /session", b.session},
		{"POST /grpc", b.grpc},
	}
}

// session gives a build client's connection to BuildKit, which asks it for
// files and secrets.
func (b buildRoutes) session(w http.ResponseWriter, r *http.Request) error {
	return b.upgrade(w, r, func(ctx context.Context, conn net.Conn) error { return b.ServeSession(ctx, conn, r.Header) })
}

func (b buildRoutes) grpc(w http.ResponseWriter, r *http.Request) error {
	return b.upgrade(w, r, b.ServeBuildKit)
}

// upgrade turns the connection into one of HTTP/2 without TLS.
func (b buildRoutes) upgrade(w http.ResponseWriter, r *http.Request, serve func(context.Context, net.Conn) error) error {
	if proto := r.Header.Get("Upgrade"); proto != "h2c" {
		return fmt.Errorf("%s upgrades to h2c, not to %q: %w", r.URL.Path, proto, errdefs.ErrInvalidArgument)
	}
	ctx, cancel := streaming(r)
	defer cancel()
	d, err := hijack(w, r, true)
	if err != nil {
		return err
	}
	defer d.conn.Close()
	return serve(ctx, readAhead{d.conn, d})
}

// readAhead is a connection of which something was read already.
type readAhead struct {
	net.Conn
	d *duplex
}

func (c readAhead) Read(p []byte) (int, error) { return c.d.in.Read(p) }
