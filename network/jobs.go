package network

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
)

// jobs runs deletions behind the caller's back: the kernel takes tens of
// milliseconds for an interface. Jobs of one key run one after the other.
type jobs struct {
	mu      sync.Mutex
	pending map[string]chan struct{} // closed when the newest job of a key has ended
	errs    []error                  // of jobs since the last flush
	slots   chan struct{}
}

// newJobs bounds how many threads wait in the kernel.
func newJobs(parallel int) *jobs {
	return &jobs{pending: map[string]chan struct{}{}, slots: make(chan struct{}, parallel)}
}

func (j *jobs) start(key string, f func() error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, done := j.pending[key], make(chan struct{})
	j.pending[key] = done
	go func() {
		if before != nil {
			<-before
		}
		j.slots <- struct{}{}
		err := f()
		<-j.slots
		j.mu.Lock()
		defer j.mu.Unlock()
		if err != nil {
			j.errs = append(j.errs, err)
		}
		if j.pending[key] == done {
			delete(j.pending, key)
		}
		close(done)
	}()
}

// wait returns when no job of key is under way any more.
func (j *jobs) wait(ctx context.Context, key string) error {
	j.mu.Lock()
	done := j.pending[key]
	j.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the removal of %q: %w: %w", key, errdefs.ErrUnavailable, context.Cause(ctx))
	}
}

func (j *jobs) busy(key string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pending[key] != nil
}

// flush waits for all jobs and returns the errors since the last flush.
func (j *jobs) flush(ctx context.Context) error {
	for {
		j.mu.Lock()
		waiting := slices.Collect(maps.Values(j.pending))
		names := strings.Join(slices.Sorted(maps.Keys(j.pending)), ", ")
		if len(waiting) == 0 {
			errs := j.errs
			j.errs = nil
			j.mu.Unlock()
			var merr *multierror.Error
			return multierror.Append(merr, errs...).ErrorOrNil()
		}
		j.mu.Unlock()
		for _, done := range waiting {
			select {
			case <-done:
			case <-ctx.Done():
				return fmt.Errorf("wait for the removal of %s: %w: %w", names, errdefs.ErrUnavailable, context.Cause(ctx))
			}
		}
	}
}
