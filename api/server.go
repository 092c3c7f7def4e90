package api

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/log"
	"github.com/hashicorp/go-multierror"
)

const (
	headerEnd = 30 * time.Second // for a client to send its headers
	graceEnd  = 10 * time.Second // for requests that change something, when the server stops
	abortEnd  = 5 * time.Second  // for handlers to notice that nobody waits any more
)

// Server answers on listeners.
type Server struct {
	handler http.Handler
	work    sync.WaitGroup // requests under way, hijacked ones too
}

func newServer(h http.Handler) *Server { return &Server{handler: h} }

// ServeHTTP counts the requests under way.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.work.Add(1)
	defer s.work.Done()
	s.handler.ServeHTTP(w, r)
}

// Serve answers until ctx ends or a listener fails, and closes the listeners.
// At the end streams stop at once, requests that change something are given
// graceEnd, and only then their contexts end.
func (s *Server) Serve(ctx context.Context, listeners []net.Listener) error {
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	over, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	base := context.WithValue(over, lifetimeKey{}, lifetime{stopping: stopping, over: over})
	complaints := log.G(ctx).WriterLevel(log.DebugLevel) // of clients that break off and the like
	defer complaints.Close()
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerEnd,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          stdlog.New(complaints, "", 0),
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- hs.Serve(l) }()
	}
	var errs *multierror.Error
	ended := 0
	select {
	case <-ctx.Done():
	case err := <-failed:
		ended++
		errs = multierror.Append(errs, fmt.Errorf("serve: %w", err))
	}
	stop()
	grace, cancel := context.WithTimeout(over, graceEnd)
	defer cancel()
	if err := hs.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		errs = multierror.Append(errs, fmt.Errorf("stop serving: %w", err))
	}
	s.settle(grace)
	abort()
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), abortEnd)
	defer cancelLast()
	s.settle(last)
	hs.Close()
	for ; ended < len(listeners); ended++ {
		if err := <-failed; err != nil && !errors.Is(err, http.ErrServerClosed) {
			errs = multierror.Append(errs, fmt.Errorf("serve: %w", err))
		}
	}
	return errs.ErrorOrNil()
}

// settle waits until no request is under way, at most until ctx ends.
func (s *Server) settle(ctx context.Context) {
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
