package api

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"gantry/engine"

	"github.com/moby/moby/api/types/events"
	moby "github.com/moby/moby/client"
)

// newsroom plays what happens.
type newsroom struct {
	news  chan events.Message
	asked chan engine.Filters
	left  chan struct{} // the listener's context ended
}

func (n newsroom) Events(ctx context.Context, _, _ time.Time, f engine.Filters) (<-chan events.Message, error) {
	n.asked <- f
	out := make(chan events.Message)
	go func() {
		defer close(out)
		for {
			select {
			case m := <-n.news:
				out <- m
			case <-ctx.Done():
				close(n.left)
				return
			}
		}
	}()
	return out, nil
}

func serveNews(t *testing.T) (newsroom, *served) {
	n := newsroom{news: make(chan events.Message), asked: make(chan engine.Filters, 1), left: make(chan struct{})}
	b := refusing()
	b.events = n
	return n, serveBackends(t, b)
}

func TestEventsComeOneByOne(t *testing.T) {
	for _, version := range []string{newest.String(), "1.47"} {
		n, s := serveNews(t)
		ctx, cancel := context.WithCancel(testContext(t))
		got := s.client(t, moby.WithAPIVersion(version)).Events(ctx, moby.EventsListOptions{Filters: moby.Filters{}.Add("type", "container")})
		for _, action := range []events.Action{events.ActionCreate, events.ActionStart, events.ActionDie} {
			n.news <- events.Message{Type: events.ContainerEventType, Action: action, Actor: events.Actor{ID: "x"}}
			select {
			case m := <-got.Messages:
				if m.Action != action || m.Actor.ID != "x" {
					t.Errorf("got %+v, want %s", m, action)
				}
			case err := <-got.Err:
				t.Fatal(err)
			}
		}
		if f := <-n.asked; len(f["type"]) != 1 || f["type"][0] != "container" {
			t.Errorf("asked for %v", f)
		}
		cancel()
		await(t, n.left, "a listener that left is let go")
	}
}

func TestStoppingEndsEvents(t *testing.T) {
	n, s := serveNews(t)
	got := s.client(t).Events(testContext(t), moby.EventsListOptions{})
	<-n.asked
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	await(t, n.left, "the listener is let go")
	if err := <-got.Err; err == nil {
		t.Error("the stream did not end")
	}
}

func TestEventsMediaType(t *testing.T) {
	for accept, want := range map[string]string{
		"":                  "application/json",
		"*/*":               "application/json",
		"application/jsonl": "application/jsonl",
		"text/html, application/x-ndjson;q=0.9, */*": "application/x-ndjson",
		"application/json-seq":                       "application/json-seq",
	} {
		r := httptest.NewRequest("GET", "/events", nil)
		r.Header.Set("Accept", accept)
		if got := eventsType(r); got != want {
			t.Errorf("Accept %q gives %q, want %q", accept, got, want)
		}
	}
}
