package api

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// lifetime is what requests share of the server's own: streams end as soon as
// it wants to stop, everything else gets a while to finish.
type lifetime struct {
	stopping context.Context // done when the server begins to stop
	over     context.Context // done when it waits no longer
}

// streamEnd is how long a stream's client may take for the last piece when the
// server stops.
const streamEnd = time.Second

type lifetimeKey struct{}

var errStopping = errors.New("the daemon stops")

func lifetimeOf(r *http.Request) lifetime {
	if l, ok := r.Context().Value(lifetimeKey{}).(lifetime); ok {
		return l
	}
	return lifetime{stopping: context.Background(), over: context.Background()}
}

// streaming is the context of a request that lasts until its client leaves: it
// also ends when the server begins to stop.
func streaming(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := joined(r.Context(), lifetimeOf(r).stopping)
	t, ok := r.Context().Value(trackedKey{}).(*tracked)
	if !ok {
		return ctx, cancel
	}
	// a client that does not read must not hold up the server's end
	stop := context.AfterFunc(lifetimeOf(r).stopping, func() {
		http.NewResponseController(t.ResponseWriter).SetWriteDeadline(time.Now().Add(streamEnd))
	})
	return ctx, func() { stop(); cancel() }
}

// changing is the context of a request that changes something: a client that
// leaves does not leave the change half done.
func changing(r *http.Request) (context.Context, context.CancelFunc) {
	return joined(context.WithoutCancel(r.Context()), lifetimeOf(r).over)
}

// joined is ctx that also ends when other does.
func joined(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(errStopping) })
	return ctx, func() { stop(); cancel(nil) }
}
