package containerd

import (
	"context"
	"time"
)

// collectDelay gathers the removals of a project into one collection.
const collectDelay = 100 * time.Millisecond

// collector runs containerd's garbage collection after removals. Its own
// scheduler misses what is removed while a collection is under way; here that
// is collected by the next one.
type collector struct{ wanted chan struct{} }

func newCollector() collector { return collector{wanted: make(chan struct{}, 1)} }

// request has what was just removed collected soon.
func (c collector) request() {
	select {
	case c.wanted <- struct{}{}:
	default: // one is on its way
	}
}

// collectRemoved runs until run ends.
func (r *Runtime) collectRemoved(run context.Context) {
	for {
		select {
		case <-r.garbage.wanted:
		case <-run.Done():
			return
		}
		t := time.NewTimer(collectDelay)
		select {
		case <-t.C:
		case <-run.Done():
			t.Stop()
			return
		}
		select { // requests during the delay are served by this collection
		case <-r.garbage.wanted:
		default:
		}
		ctx, cancel := context.WithTimeout(r.with(run), callTimeout)
		err := r.collect(ctx)
		cancel()
		if err != nil && run.Err() == nil {
			r.log.WithError(err).Warn("removed file systems still take disk space; the next removal tries again")
		}
	}
}
