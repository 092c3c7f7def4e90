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
	eventScope   = "local"
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
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now() // told under the lock: in the order of their times
	m.Scope, m.Time, m.TimeNano = eventScope, now.Unix(), now.UnixNano()
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

// subscribe returns kept events from since to until, if either is given, and a
// channel of those that follow. The channel is closed by cancel, by the bus's
// end, or when the subscriber does not keep up.
func (b *bus) subscribe(since, until time.Time) (past []events.Message, next <-chan events.Message, cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !since.IsZero() || !until.IsZero() {
		for _, m := range b.past {
			at := time.Unix(0, m.TimeNano)
			if !at.Before(since) && (until.IsZero() || !at.After(until)) {
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

// listeners is how many subscribers there are.
func (b *bus) listeners() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Events streams what happens from since until until (zero: for ever) or the
// end of ctx; without since, what happens from now on and, with until, also
// what is still known of before. The channel is closed at the end.
func (e *Engine) Events(ctx context.Context, since, until time.Time, f Filters) (<-chan events.Message, error) {
	if err := f.checkEvents(); err != nil {
		return nil, err
	}
	past, next, cancel := e.bus.subscribe(since, until)
	out := make(chan events.Message)
	go func() {
		defer close(out)
		defer cancel()
		deliver(ctx, out, past, next, until, f)
	}()
	return out, nil
}

// deliver sends what the filters let through: past, then next until it is
// closed, until has come or ctx ends.
func deliver(ctx context.Context, out chan<- events.Message, past []events.Message, next <-chan events.Message, until time.Time, f Filters) {
	var end <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		end = t.C
	}
	send := func(m events.Message) bool {
		if !f.matchEvent(m) || !until.IsZero() && time.Unix(0, m.TimeNano).After(until) {
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
			// what happened in time may still be on its way
			for {
				select {
				case m, ok := <-next:
					if !ok || !send(m) {
						return
					}
				default:
					return
				}
			}
		case <-ctx.Done():
			return
		}
	}
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
