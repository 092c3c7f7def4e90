package engine

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
)

func TestEventFilters(t *testing.T) {
	box := events.Message{Type: events.ContainerEventType, Action: "exec_start: sh -c x", Scope: "local",
		Actor: events.Actor{ID: "0123456789abcdef", Attributes: map[string]string{"name": "box", "image": "docker.example/a/b:1", "tier": "db"}}}
	pulled := events.Message{Type: events.ImageEventType, Action: events.ActionTag, Scope: "local",
		Actor: events.Actor{ID: "sha256:fedcba9876543210", Attributes: map[string]string{"name": "busybox:1"}}}
	for _, c := range []struct {
		f    Filters
		m    events.Message
		want bool
	}{
		{nil, box, true},
		{Filters{"event": {"exec_start"}}, box, true},
		{Filters{"event": {"exec_start: sh -c x"}}, box, true},
		{Filters{"event": {"exec"}}, box, false},
		{Filters{"event": {"die", "exec_start"}}, box, true},
		{Filters{"container": {"0123"}}, box, true},
		{Filters{"container": {"bo"}}, box, true},
		{Filters{"container": {"123"}}, box, false},
		{Filters{"container": {"busybox:1"}}, pulled, false},
		{Filters{"type": {"container"}}, box, true},
		{Filters{"type": {"image"}}, box, false},
		{Filters{"image": {"docker.example/a/b"}}, box, true},
		{Filters{"image": {"docker.example/a/b:1"}}, box, true},
		{Filters{"image": {"docker.example/a/b:2"}}, box, false},
		{Filters{"image": {"busybox"}}, pulled, true},
		{Filters{"image": {"fedcba987654"}}, pulled, true},
		{Filters{"image": {"fed"}}, pulled, false},
		{Filters{"label": {"tier=db"}}, box, true},
		{Filters{"label": {"tier=db", "other"}}, box, false},
		{Filters{"scope": {"local"}}, box, true},
		{Filters{"scope": {"swarm"}}, box, false},
		{Filters{"daemon": {"x"}}, box, false},
		{Filters{"network": {"box"}}, box, false},
		{Filters{"type": {"container"}, "event": {"die"}}, box, false},
	} {
		if got := c.f.matchEvent(c.m); got != c.want {
			t.Errorf("%v lets %s %s through: %v", c.f, c.m.Type, c.m.Action, got)
		}
	}
	if err := (Filters{"nonsense": {"1"}}).checkEvents(); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an unknown filter: %v", err)
	}
}

func numbered(b *bus, from, to int) {
	for i := from; i < to; i++ {
		b.publish(events.Message{Type: events.ContainerEventType, Action: events.ActionStart, Actor: events.Actor{ID: string(rune('a' + i%26))}})
	}
}

func TestEventsOfThePastHaveBounds(t *testing.T) {
	e := &Engine{bus: newBus()}
	numbered(e.bus, 0, 5)
	at := func(i int) time.Time { return time.Unix(0, e.bus.past[i].TimeNano) }
	got := func(since, until time.Time) (ids string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c, err := e.Events(ctx, since, until, nil)
		if err != nil {
			t.Fatal(err)
		}
		for m := range c {
			ids += m.Actor.ID
		}
		return ids
	}
	if !slices.IsSortedFunc(e.bus.past, func(a, b events.Message) int { return int(a.TimeNano - b.TimeNano) }) {
		t.Error("kept out of order")
	}
	if ids := got(at(1), at(3)); ids != "bcd" {
		t.Errorf("from b to d: %s", ids)
	}
	if ids := got(time.Time{}, at(2)); ids != "abc" {
		t.Errorf("until c: %s", ids)
	}
	if ids := got(at(4).Add(1), at(4).Add(2)); ids != "" {
		t.Errorf("after the last: %s", ids)
	}
	if n := e.bus.listeners(); n != 0 {
		t.Errorf("%d listeners are left", n)
	}
}

// One that does not read is let go; nothing waits for it, and what is kept of
// the past is bounded.
func TestSlowListenersAreLetGo(t *testing.T) {
	e := &Engine{bus: newBus()}
	slow, err := e.Events(t.Context(), time.Time{}, time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	numbered(e.bus, 0, 3*eventsBuffer)
	if n := e.bus.listeners(); n != 0 {
		t.Errorf("%d listeners", n)
	}
	if n := len(e.bus.past); n > eventsKept {
		t.Errorf("%d events are kept", n)
	}
	n := 0
	for range slow {
		n++
	}
	if n == 0 || n > eventsBuffer+1 {
		t.Errorf("it got %d events", n)
	}
}

func TestVersionOfRunc(t *testing.T) {
	got := runcComponent("runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\nspec: 1.0.2-dev\n")
	if got != (Component{Name: "runc", Version: "1.1.5+ds1", Commit: "1.1.5+ds1-1"}) {
		t.Errorf("%+v", got)
	}
	if got := runcComponent("runc version 2\n"); got.Commit != "2" {
		t.Errorf("%+v", got)
	}
}

func TestIdentityStays(t *testing.T) {
	dir := t.TempDir()
	first, err := identity(dir)
	again, err2 := identity(dir)
	if err != nil || err2 != nil || first == "" || first != again {
		t.Errorf("%q, %v, then %q, %v", first, err, again, err2)
	}
}

func TestRegistryConfig(t *testing.T) {
	c := registryConfig([]string{"10.0.0.0/8", "reg.example:5000"}, []string{"https://mirror.example"})
	if len(c.InsecureRegistryCIDRs) != 3 || c.IndexConfigs["reg.example:5000"] == nil || c.IndexConfigs["reg.example:5000"].Secure || !slices.Equal(c.Mirrors, []string{"https://mirror.example"}) || !c.IndexConfigs["docker.io"].Official {
		t.Errorf("%+v", c)
	}
}
