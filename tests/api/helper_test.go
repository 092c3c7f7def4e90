// Package api_test drives a real daemon through the Engine API, with the
// Engine API's own client.
package api_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
)

const (
	patience = time.Minute
	image    = "busybox:test"
)

// host is a daemon with a busybox image and a client of it.
type host struct {
	*testing.T
	*moby.Client
	daemon *harness.Daemon
	ctx    context.Context
}

func newHost(t *testing.T) *host {
	t.Helper()
	d := harness.Start(t)
	d.Busybox(image)
	c, err := moby.New(moby.WithHost(d.Host))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(func() { cancel(); c.Close() })
	return &host{T: t, Client: c, daemon: d, ctx: ctx}
}

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("%v\n--- daemon\n%s", err, h.daemon.Log())
	}
}

// create makes a container that is gone when the test ends.
func (h *host) create(name string, c container.Config, hc container.HostConfig) string {
	h.Helper()
	if c.Image == "" {
		c.Image = image
	}
	got, err := h.ContainerCreate(h.ctx, moby.ContainerCreateOptions{Name: name, Config: &c, HostConfig: &hc})
	h.must(err)
	h.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.ContainerRemove(ctx, got.ID, moby.ContainerRemoveOptions{Force: true, RemoveVolumes: true}) // most tests removed it
	})
	return got.ID
}

// run makes and starts a container of a shell command.
func (h *host) run(name, script string) string {
	h.Helper()
	id := h.create(name, container.Config{Cmd: []string{"sh", "-c", script}}, container.HostConfig{})
	h.start(id)
	return id
}

func (h *host) start(id string) {
	h.Helper()
	_, err := h.ContainerStart(h.ctx, id, moby.ContainerStartOptions{})
	h.must(err)
}

func (h *host) inspect(id string) container.InspectResponse {
	h.Helper()
	got, err := h.ContainerInspect(h.ctx, id, moby.ContainerInspectOptions{})
	h.must(err)
	return got.Container
}

// wait returns the exit code of a container that ends.
func (h *host) wait(id string, cond container.WaitCondition) func() int64 {
	h.Helper()
	w := h.ContainerWait(h.ctx, id, moby.ContainerWaitOptions{Condition: cond})
	return func() int64 {
		h.Helper()
		select {
		case r := <-w.Result:
			if r.Error != nil {
				h.Fatal(r.Error.Message)
			}
			return r.StatusCode
		case err := <-w.Error:
			h.must(err)
			return -1
		}
	}
}

// logs reads a container's log apart into its two streams.
func (h *host) logs(id string, o moby.ContainerLogsOptions) (out, errs string) {
	h.Helper()
	o.ShowStdout, o.ShowStderr = true, true
	r, err := h.ContainerLogs(h.ctx, id, o)
	h.must(err)
	defer r.Close()
	var a, b bytes.Buffer
	_, err = stdcopy.StdCopy(&a, &b, r)
	h.must(err)
	return a.String(), b.String()
}
