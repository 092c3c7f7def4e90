package containerd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
)

// collectDelay gathers the removals of a project into one collection.
const collectDelay = 100 * time.Millisecond

// collector runs containerd's garbage collection after removals: the store says
// when something went, so that nobody has to look. With a containerd elsewhere,
// what is removed here is told by who removes it; its own scheduler misses what
// is removed while a collection is under way.
type collector struct {
	wanted  chan struct{}
	running sync.Mutex
}

func newCollector() *collector { return &collector{wanted: make(chan struct{}, 1)} }

// request has what was just removed collected soon.
func (c *collector) request() {
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
		ctx, cancel := context.WithTimeout(run, callTimeout)
		err := r.Collect(ctx)
		cancel()
		if err != nil && run.Err() == nil {
			r.log.WithError(err).Warn("removed file systems still take disk space; the next removal tries again")
		}
	}
}

// Collect removes content and snapshots that nothing refers to, and returns
// when they are gone from the disk. One collection waits for another: that may
// be still deleting files of what this one does not find any more.
func (r *Runtime) Collect(ctx context.Context) (err error) {
	ctx = r.with(ctx)
	r.garbage.running.Lock()
	defer r.garbage.running.Unlock()
	if r.metadata != nil {
		_, err = r.metadata.GarbageCollect(ctx)
	} else {
		var l leases.Lease
		l, err = r.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Minute))
		if err == nil {
			err = r.client.LeasesService().Delete(ctx, l, leases.SynchronousDelete)
		}
	}
	if err != nil {
		return fmt.Errorf("garbage collection: %w", err)
	}
	return nil
}
