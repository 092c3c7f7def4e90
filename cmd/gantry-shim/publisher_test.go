package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// gate delivers events; those of the container "stuck" wait until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	got  map[string][]string
}

func (g *gate) Publish(_ context.Context, topic string, e events.Event) error {
	id := e.(interface{ GetContainerID() string }).GetContainerID()
	if id == "stuck" {
		<-g.open
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got[id] = append(g.got[id], topic)
	return nil
}

func (g *gate) Close() error { return nil }

// An event that cannot be delivered holds up its own container alone. What
// waits there is bounded, in order, and includes every exit.
func TestPublisherQueues(t *testing.T) {
	g := &gate{open: make(chan struct{}), got: map[string][]string{}}
	p := newPublisher(g, newProcesses(), "")
	ctx := t.Context()
	if err := p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	var stuck, free []string
	for i := range 3 * queueLimit {
		topic := fmt.Sprint("oom ", i)
		p.Publish(ctx, topic, &eventstypes.TaskOOM{ContainerID: "stuck"})
		stuck = append(stuck, topic)
	}
	for i := range 10 {
		topic := fmt.Sprint("exit ", i)
		for _, id := range []string{"stuck", "free"} {
			p.Publish(ctx, topic, &eventstypes.TaskExit{ContainerID: id, ID: fmt.Sprint(i)})
		}
		free = append(free, topic)
	}
	idle := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return slices.Equal(g.got["free"], free)
	}
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !idle() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the other container's events: %q", g.got["free"])
		}
	}
	close(g.open)
	if err := p.flush(ctx); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	got := g.got["stuck"]
	n := len(got) - len(free)
	if n < queueLimit || n > queueLimit+1 { // one may be under way
		t.Fatalf("%d events were kept, want %d", n, queueLimit)
	}
	order := func(a, b string) int { return slices.Index(stuck, a) - slices.Index(stuck, b) }
	if !slices.IsSortedFunc(got[:n], order) || !slices.Equal(got[n:], free) {
		t.Errorf("got %q", got)
	}
}

// pkg/shim loads every plugin that some package has registered.
func TestNoForeignPlugins(t *testing.T) {
	for _, r := range registry.Graph(func(*plugin.Registration) bool { return false }) {
		t.Errorf("plugin %s is linked into the shim", r.URI())
	}
}
