package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
)

const (
	eventsKept   = 1024 // for subscribers that ask for the past
	eventsBuffer = 1024 // a subscriber that lags further is let go
)

// bus tells everybody who listens what happens to objects.
type bus struct {
	mu     sync.Mutex
	past   []events.Message
	subs   map[chan events.Message]struct{}
	closed bool
}

func newBus() *bus { return &bus{subs: map[chan events.Message]struct{}{}} }

func (b *bus) publish(m events.Message) {
	now := time.Now()
	m.Scope, m.Time, m.TimeNano = "local", now.Unix(), now.UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.past) == eventsKept {
		b.past = slices.Delete(b.past, 0, eventsKept/4)
	}
	b.past = append(b.past, m)
	for c := range b.subs {
		select {
		case c <- m:
		default: // it does not read: never wait for it
			delete(b.subs, c)
			close(c)
		}
	}
}

// subscribe returns kept events after since (none for the zero time) and a
// channel of those that follow. The channel is closed by cancel, by the bus's
// end, or when the subscriber does not keep up.
func (b *bus) subscribe(since time.Time) (past []events.Message, next <-chan events.Message, cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !since.IsZero() {
		for _, m := range b.past {
			if m.TimeNano >= since.UnixNano() {
				past = append(past, m)
			}
		}
	}
	c := make(chan events.Message, eventsBuffer)
	if b.closed {
		close(c)
		return past, c, func() {}
	}
	b.subs[c] = struct{}{}
	return past, c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.subs[c]; ok {
			delete(b.subs, c)
			close(c)
		}
	}
}

func (b *bus) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for c := range b.subs {
		delete(b.subs, c)
		close(c)
	}
}

// Events streams what happens, from since (zero: from now) until until (zero:
// for ever) or the end of ctx. The channel is closed at the end.
func (e *Engine) Events(ctx context.Context, since, until time.Time, f Filters) (<-chan events.Message, error) {
	past, next, cancel := e.bus.subscribe(since)
	out := make(chan events.Message)
	go func() {
		defer close(out)
		defer cancel()
		var end <-chan time.Time
		if !until.IsZero() {
			t := time.NewTimer(time.Until(until))
			defer t.Stop()
			end = t.C
		}
		send := func(m events.Message) bool {
			if !f.matchEvent(m) || !until.IsZero() && m.TimeNano > until.UnixNano() {
				return true
			}
			select {
			case out <- m:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for _, m := range past {
			if !send(m) {
				return
			}
		}
		for {
			select {
			case m, ok := <-next:
				if !ok || !send(m) {
					return
				}
			case <-end:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (f Filters) matchEvent(m events.Message) bool {
	for key, values := range f {
		ok := false
		switch key {
		case "label":
			ok = matchLabels(m.Actor.Attributes, values)
		case "type":
			ok = slices.Contains(values, string(m.Type))
		case "event":
			ok = slices.ContainsFunc(values, func(v string) bool {
				return v == string(m.Action) || strings.HasPrefix(string(m.Action), v+":")
			})
		case "container", "image", "network", "volume":
			ok = (string(m.Type) == key || key == "image" && m.Actor.Attributes["image"] != "") &&
				slices.ContainsFunc(values, func(v string) bool {
					return v == m.Actor.Attributes["name"] || v == m.Actor.Attributes[key] || strings.HasPrefix(m.Actor.ID, v)
				})
		case "scope":
			ok = slices.Contains(values, "local")
		case "daemon":
			ok = true
		}
		if !ok {
			return false
		}
	}
	return true
}

// matchLabels tells whether all wanted labels ("key" or "key=value") are there.
func matchLabels(labels map[string]string, wanted []string) bool {
	for _, w := range wanted {
		k, v, valued := strings.Cut(w, "=")
		got, ok := labels[k]
		if !ok || valued && got != v {
			return false
		}
	}
	return true
}

// emitContainer publishes a container's event with Docker's attributes: its
// labels, image and name, and extra.
func (e *Engine) emitContainer(c *ctr, action events.Action, extra map[string]string) {
	rec := c.record()
	attrs := make(map[string]string, len(rec.Config.Labels)+len(extra)+2)
	for k, v := range rec.Config.Labels {
		attrs[k] = v
	}
	attrs["image"], attrs["name"] = rec.Config.Image, rec.Name
	for k, v := range extra {
		attrs[k] = v
	}
	e.bus.publish(events.Message{Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: rec.ID, Attributes: attrs}})
}

func (e *Engine) emit(t events.Type, action events.Action, id string, attrs map[string]string) {
	e.bus.publish(events.Message{Type: t, Action: action, Actor: events.Actor{ID: id, Attributes: attrs}})
}
