package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"gantry/cmd/gantry/docker"
	"gantry/cmd/gantry/progress"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	engine "github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
)

// buildDisplay shows builds as BuildKit does, all of them in one display.
type buildDisplay struct {
	ctx   context.Context
	api   *engine.Client
	kit   *client.Client
	all   chan *client.SolveStatus
	shown chan struct{}
	err   error
	rest  progress.Display // what is not a build's own
	warn  func()           // shows what was found in Dockerfiles

	mu    sync.Mutex
	built []scheduler.Event
	ends  map[int]context.CancelFunc // by step
	wait  sync.WaitGroup
}

// newBuildDisplay connects to BuildKit. It shows nothing after close.
func newBuildDisplay(ctx context.Context, c *cli, w io.Writer) (*buildDisplay, error) {
	mode := progressui.DisplayMode(c.global.progress)
	switch progress.Mode(c.global.progress) {
	case progress.Auto:
		mode = progressui.AutoMode
		if set := c.getenv("BUILDKIT_PROGRESS"); set != "" {
			mode = progressui.DisplayMode(set)
		} else if c.global.ansi == "never" {
			mode = progressui.PlainMode
		}
	case progress.JSON:
		mode = progressui.RawJSONMode
	}
	display, err := progressui.NewDisplay(w, mode)
	if err != nil {
		return nil, usagef("--progress: %v", err)
	}
	api, err := c.engine()
	if err != nil {
		return nil, err
	}
	d := &buildDisplay{
		ctx: ctx, api: api, all: make(chan *client.SolveStatus), shown: make(chan struct{}), ends: map[int]context.CancelFunc{},
		rest: c.display(true),
	}
	d.kit, err = client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return api.DialHijack(ctx, "/grpc", "h2c", nil)
	}))
	if err != nil {
		api.Close()
		return nil, err
	}
	go func() {
		defer close(d.shown)
		var found []client.VertexWarning
		told := d.all
		if mode != progressui.RawJSONMode {
			told = docker.ForPeople(d.all)
		}
		found, d.err = display.UpdateFrom(context.WithoutCancel(ctx), told)
		if mode != progressui.RawJSONMode && mode != progressui.QuietMode {
			d.warn = func() { docker.PrintWarnings(w, found, "build --check") }
		}
		for range told { // whoever sends must not hang
		}
	}()
	return d, nil
}

func (d *buildDisplay) Event(e scheduler.Event) {
	if e.Verb != "build" {
		d.rest.Event(e)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Status {
	case scheduler.StatusStarted:
		ctx, cancel := context.WithCancel(d.ctx)
		d.ends[e.Step] = cancel
		service, _, _ := strings.Cut(e.Service, ",")
		d.wait.Go(func() { d.watch(ctx, e.Build, service) })
	case scheduler.StatusProgress:
	default:
		d.built = append(d.built, e)
		if end := d.ends[e.Step]; end != nil {
			delete(d.ends, e.Step)
			time.AfterFunc(lastOutput, end) // what BuildKit has not told by then, it will not tell
		}
	}
}

// lastOutput is how long a build that has ended may still tell of itself.
const lastOutput = 2 * time.Second

// watch passes on what one build tells, until it ends.
func (d *buildDisplay) watch(ctx context.Context, id, service string) {
	for ctx.Err() == nil {
		stream, err := d.kit.ControlClient().Status(ctx, &controlapi.StatusRequest{Ref: id})
		told := false
		for err == nil {
			var s *controlapi.StatusResponse
			if s, err = stream.Recv(); err == nil {
				told = true
				d.all <- named(client.NewSolveStatus(s), service)
			}
		}
		if told || err == io.EOF || !errdefs.IsNotFound(err) && !strings.Contains(err.Error(), "no such job") {
			return
		}
	}
}

// named makes one build's steps another's no more: several may be shown at
// once. "[1/2] FROM x" becomes "[web 1/2] FROM x", as with Docker Compose.
func named(s *client.SolveStatus, service string) *client.SolveStatus {
	own := func(d digest.Digest) digest.Digest { return digest.FromString(service + string(d)) }
	for _, v := range s.Vertexes {
		v.Digest = own(v.Digest)
		for i := range v.Inputs {
			v.Inputs[i] = own(v.Inputs[i])
		}
		if strings.HasPrefix(v.Name, "[") {
			v.Name = "[" + service + " " + v.Name[1:]
		} else {
			v.Name = "[" + service + "] " + v.Name
		}
	}
	for _, v := range s.Statuses {
		v.Vertex = own(v.Vertex)
	}
	for _, l := range s.Logs {
		l.Vertex = own(l.Vertex)
	}
	for _, w := range s.Warnings {
		w.Vertex = own(w.Vertex)
	}
	return s
}

func (d *buildDisplay) Above(w io.Writer) io.Writer { return w }

// Close shows the end, and last which images there are.
func (d *buildDisplay) Close() {
	d.mu.Lock()
	for _, end := range d.ends { // of builds whose end nobody told of
		end()
	}
	d.mu.Unlock()
	d.wait.Wait()
	close(d.all)
	<-d.shown
	if d.warn != nil {
		d.warn()
	}
	d.kit.Close()
	d.api.Close()
	for _, e := range d.built {
		d.rest.Event(e)
	}
	d.rest.Close()
}

// quietly prints the images' IDs only.
type quietly struct {
	progress.Display
	mu   sync.Mutex
	refs []string
}

func (q *quietly) Event(e scheduler.Event) {
	if e.Verb == "build" && e.Status == scheduler.StatusDone {
		q.mu.Lock()
		q.refs = append(q.refs, e.Name)
		q.mu.Unlock()
	}
	q.Display.Event(e)
}

func (q *quietly) print(ctx context.Context, api *engine.Client, w io.Writer) error {
	slices.Sort(q.refs)
	for _, ref := range q.refs {
		image, err := api.ImageInspect(ctx, ref)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, image.ID)
	}
	return nil
}
