package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gantry/api/client"
	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// fakeDaemon speaks as much of the protocol as an attached up needs. What its
// containers do is scripted; the end-to-end tests have the real ones.
type fakeDaemon struct {
	t    *testing.T
	host string

	mu    sync.Mutex
	cond  *sync.Cond
	boxes map[string]*fakeBox
	subs  map[chan events.Message]bool
	calls []string // verbs, in the order in which they came

	up, stop func(emit func(scheduler.Event)) error
}

type fakeBox struct {
	name, service string
	out           []byte // of its log, as frames
	running       bool
}

func newFakeDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	d := &fakeDaemon{t: t, boxes: map[string]*fakeBox{}, subs: map[chan events.Message]bool{}}
	d.cond = sync.NewCond(&d.mu)
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	d.host = "unix://" + socket
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{version}/containers/json", d.list)
	mux.HandleFunc("GET /{version}/containers/{id}/json", d.inspect)
	mux.HandleFunc("GET /{version}/containers/{id}/logs", d.logs)
	mux.HandleFunc("POST /{version}/containers/{id}/kill", d.kill)
	mux.HandleFunc("GET /{version}/events", d.events)
	mux.HandleFunc("POST /gantry/projects/{name}/{verb}", d.verb)
	s := &http.Server{Handler: mux}
	go s.Serve(l)
	t.Cleanup(func() { s.Close(); d.do(func() {}) })
	return d
}

func (d *fakeDaemon) do(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	d.cond.Broadcast()
}

func (d *fakeDaemon) labels(b *fakeBox) map[string]string {
	return map[string]string{project.LabelProject: "demo", project.LabelService: b.service, project.LabelNumber: "1"}
}

// tell sends an event; the daemon is locked.
func (d *fakeDaemon) tell(id string, action events.Action, more map[string]string) {
	b := d.boxes[id]
	attributes := d.labels(b)
	attributes["name"] = b.name
	for k, v := range more {
		attributes[k] = v
	}
	for sub := range d.subs {
		sub <- events.Message{Type: "container", Action: action, Actor: events.Actor{ID: id, Attributes: attributes}, TimeNano: time.Now().UnixNano()}
	}
}

func (d *fakeDaemon) start(service string) {
	d.do(func() {
		d.boxes[service] = &fakeBox{name: "demo-" + service + "-1", service: service, running: true}
		d.tell(service, events.ActionStart, nil)
	})
}

func (d *fakeDaemon) say(service, text string) {
	d.do(func() {
		entry := time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text + "\n"
		header := []byte{1, 0, 0, 0, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(header[4:], uint32(len(entry)))
		d.boxes[service].out = append(append(d.boxes[service].out, header...), entry...)
	})
}

func (d *fakeDaemon) die(service string, code int) {
	d.do(func() {
		if b := d.boxes[service]; b.running {
			b.running = false
			d.tell(service, events.ActionDie, map[string]string{"exitCode": fmt.Sprint(code)})
		}
	})
}

// started is the daemon's event for a start, which up streams.
func started(service string) scheduler.Event {
	return scheduler.Event{Kind: "container", Name: "demo-" + service + "-1", Service: service, Verb: "start", Status: scheduler.StatusDone}
}

func (d *fakeDaemon) verb(w http.ResponseWriter, r *http.Request) {
	verb := r.PathValue("verb")
	d.do(func() { d.calls = append(d.calls, verb) })
	script := map[string]func(func(scheduler.Event)) error{"up": d.up, "stop": d.stop}[verb]
	if script == nil {
		http.Error(w, `{"message":"no such verb"}`, http.StatusNotFound)
		return
	}
	emit := func(e scheduler.Event) {
		json.NewEncoder(w).Encode(e)
		w.(http.Flusher).Flush()
	}
	emit(client.PlanEvent(1))
	emit(client.FinalEvent(script(emit)))
}

func (d *fakeDaemon) list(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []container.Summary{}
	for id, b := range d.boxes {
		state := container.StateExited
		if b.running {
			state = container.StateRunning
		}
		list = append(list, container.Summary{ID: id, Names: []string{"/" + b.name}, Labels: d.labels(b), State: state})
	}
	json.NewEncoder(w).Encode(list)
}

func (d *fakeDaemon) inspect(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	json.NewEncoder(w).Encode(container.InspectResponse{ID: r.PathValue("id"), State: &container.State{Running: d.boxes[r.PathValue("id")].running}})
}

func (d *fakeDaemon) logs(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-r.Context().Done():
			d.do(func() {})
		case <-stop:
		}
	}()
	b, sent := d.boxes[r.PathValue("id")], 0
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		w.Write(b.out[sent:])
		w.(http.Flusher).Flush()
		sent = len(b.out)
		if !b.running || r.Context().Err() != nil {
			return
		}
		d.cond.Wait()
	}
}

func (d *fakeDaemon) kill(w http.ResponseWriter, r *http.Request) {
	d.do(func() { d.calls = append(d.calls, "kill "+r.PathValue("id")) })
	d.die(r.PathValue("id"), 137)
	w.WriteHeader(http.StatusNoContent)
}

func (d *fakeDaemon) events(w http.ResponseWriter, r *http.Request) {
	sub := make(chan events.Message, 100)
	d.do(func() { d.subs[sub] = true })
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case m := <-sub:
			json.NewEncoder(w).Encode(m)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}
