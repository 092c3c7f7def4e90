package engine

import (
	"context"
	"sync"

	"github.com/moby/moby/api/types/container"
)

// meters are the containers that somebody measures, by ID. A container is
// measured once for all who watch it, and not at all while nobody does. The
// zero value is ready.
type meters struct {
	mu   sync.Mutex
	byID map[string]*meter
}

// meter hands one container's measurements to those who watch.
type meter struct {
	cancel context.CancelFunc

	mu       sync.Mutex
	watchers map[chan container.StatsResponse]struct{}
	ended    bool
}

// watch returns a container's measurements until ctx ends or the container is
// gone.
func (ms *meters) watch(ctx context.Context, e *Engine, c *ctr) <-chan container.StatsResponse {
	out := make(chan container.StatsResponse, 1)
	ms.mu.Lock()
	m := ms.byID[c.id]
	if m == nil || !m.add(out) {
		mctx, cancel := context.WithCancel(e.ctx)
		m = &meter{cancel: cancel, watchers: map[chan container.StatsResponse]struct{}{out: {}}}
		if ms.byID == nil {
			ms.byID = map[string]*meter{}
		}
		ms.byID[c.id] = m
		go e.measure(mctx, c, m)
	}
	ms.mu.Unlock()
	context.AfterFunc(ctx, func() {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		if m.remove(out) == 0 {
			m.cancel()
			if ms.byID[c.id] == m {
				delete(ms.byID, c.id)
			}
		}
	})
	return out
}

// add lets one more watch, unless there is nothing more to come.
func (m *meter) add(w chan container.StatsResponse) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return false
	}
	m.watchers[w] = struct{}{}
	return true
}

// remove ends a watcher's channel and returns how many are left.
func (m *meter) remove(w chan container.StatsResponse) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.watchers[w]; ok {
		delete(m.watchers, w)
		close(w)
	}
	return len(m.watchers)
}

// publish gives everybody the newest measurement, in the place of one that has
// not been read yet.
func (m *meter) publish(s container.StatsResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.watchers {
		select {
		case <-w:
		default:
		}
		w <- s // there is room: only publish sends
	}
}

// end tells everybody that nothing more comes.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for w := range m.watchers {
		close(w)
	}
	clear(m.watchers)
}
