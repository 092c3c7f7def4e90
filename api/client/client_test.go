package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// serve answers on a unix socket and returns a client of it.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	c := New(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})
	t.Cleanup(c.Close)
	return c
}

func send(t *testing.T, w http.ResponseWriter, events ...scheduler.Event) {
	t.Helper()
	for _, e := range events {
		if err := json.NewEncoder(w).Encode(e); err != nil {
			t.Error(err)
		}
		w.(http.Flusher).Flush()
	}
}

func TestDo(t *testing.T) {
	events := []scheduler.Event{PlanEvent(2), {Step: 0, Kind: "container", Name: "a", Verb: "start", Status: scheduler.StatusDone}, WarningEvent("w")}
	var got Request[StopOptions]
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/gantry/projects/demo/stop" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("request %s %s %v", r.Method, r.URL, r.Header)
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		send(t, w, append(events, FinalEvent(nil))...)
	})
	timeout := 3 * time.Second
	request := Request[StopOptions]{Project: &project.Project{Name: "demo"}, Services: []string{"a"}, Holder: "me", Options: StopOptions{Timeout: &timeout}}
	var seen []scheduler.Event
	if err := Do(t.Context(), c, "demo", VerbStop, request, func(e scheduler.Event) { seen = append(seen, e) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(events, seen); d != "" {
		t.Errorf("events: %s", d)
	}
	if got.Project == nil || got.Project.Name != "demo" || got.Holder != "me" || *got.Options.Timeout != timeout || got.Services[0] != "a" {
		t.Errorf("the daemon got %+v", got)
	}
}

func TestDoFails(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { send(t, w, PlanEvent(1), FinalEvent(errors.New("a\nb"))) })
	err := Do(t.Context(), c, "demo", VerbUp, Request[UpOptions]{}, func(scheduler.Event) {})
	var failure *Error
	if !errors.As(err, &failure) || failure.Message != "a\nb" {
		t.Errorf("error %v", err)
	}
}

func TestDoIsRefused(t *testing.T) {
	for status, is := range map[int]func(error) bool{
		http.StatusBadRequest: errdefs.IsInvalidArgument, http.StatusNotFound: errdefs.IsNotFound, http.StatusConflict: errdefs.IsConflict,
		http.StatusInternalServerError: errdefs.IsInternal, http.StatusServiceUnavailable: errdefs.IsUnavailable,
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, `{"message":"service \"web\": no"}`)
		})
		err := Do(t.Context(), c, "demo", VerbUp, Request[UpOptions]{}, func(scheduler.Event) { t.Error("an event") })
		if err == nil || err.Error() != `service "web": no` || !is(err) {
			t.Errorf("status %d: error %v", status, err)
		}
	}
}

func TestRefusalWithoutMessage(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) })
	_, err := c.Projects(t.Context(), false)
	if err == nil || err.Error() != "the daemon answered 502 Bad Gateway to GET /gantry/projects" {
		t.Errorf("error %v", err)
	}
}

func TestDoWithABrokenStream(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"no end": func(w http.ResponseWriter, _ *http.Request) { send(t, w, PlanEvent(1)) },
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			send(t, w, PlanEvent(1))
			panic(http.ErrAbortHandler)
		},
		"not JSON": func(w http.ResponseWriter, _ *http.Request) {
			send(t, w, PlanEvent(1))
			fmt.Fprintln(w, "panic: runtime error")
		},
	} {
		seen := 0
		err := Do(t.Context(), serve(t, handler), "demo", VerbUp, Request[UpOptions]{}, func(scheduler.Event) { seen++ })
		if !errdefs.IsUnavailable(err) || seen != 1 {
			t.Errorf("%s: %d events, error %v", name, seen, err)
		}
	}
}

func TestDoIsCancelled(t *testing.T) {
	left := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		send(t, w, PlanEvent(1))
		<-r.Context().Done()
		close(left)
	})
	because := errors.New("the user pressed a key")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := Do(ctx, c, "demo", VerbUp, Request[UpOptions]{}, func(scheduler.Event) { cancel(because) })
	if !errors.Is(err, because) {
		t.Errorf("error %v", err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the daemon does not notice that its client has left")
	}
}

func TestNobodyAnswers(t *testing.T) {
	because := errors.New("no socket")
	c := New(func(context.Context) (net.Conn, error) { return nil, because })
	if _, err := c.Projects(t.Context(), false); err != because {
		t.Errorf("error %v, want the dialer's own", err)
	}
}

func TestPlanAndLists(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]any{
			"POST /gantry/projects/demo/plan?verb=up": PlanResponse{Text: "0 create network demo\n", Warnings: []string{"w"}},
			"GET /gantry/projects?all=1":              []Summary{{Name: "demo", States: map[string]int{"running": 2}}},
			"GET /gantry/projects/demo":               project.Project{Name: "demo", Disabled: []string{"x"}},
		}[r.Method+" "+r.URL.String()]
		if answer == nil {
			t.Errorf("unknown request %s %s", r.Method, r.URL)
		}
		json.NewEncoder(w).Encode(answer)
	})
	plan, err := Plan(t.Context(), c, "demo", VerbUp, Request[UpOptions]{})
	if err != nil || plan.Text != "0 create network demo\n" || len(plan.Warnings) != 1 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	list, err := c.Projects(t.Context(), true)
	if err != nil || len(list) != 1 || list[0].States["running"] != 2 {
		t.Errorf("projects %+v, %v", list, err)
	}
	p, err := c.Project(t.Context(), "demo")
	if err != nil || p.Name != "demo" || len(p.Disabled) != 1 {
		t.Errorf("project %+v, %v", p, err)
	}
}
