package api

import (
	"context"
	"testing"

	"gantry/engine"

	moby "github.com/moby/moby/client"
)

// slow plays a container whose stop takes its time.
type slow struct {
	refuser
	began, release chan struct{}
	cut            chan error
}

func (s slow) StopContainer(ctx context.Context, _ string, _ engine.StopOptions) error {
	close(s.began)
	<-s.release
	s.cut <- ctx.Err()
	return nil
}

func newSlow() slow {
	return slow{began: make(chan struct{}), release: make(chan struct{}), cut: make(chan error, 1)}
}

// When the server stops, streams end at once, while a change that is under way
// is finished and answered.
func TestStoppingLetsChangesFinish(t *testing.T) {
	work, p := newSlow(), newProcess()
	b := refusing()
	b.lifecycle, b.attacher = work, box{process: p}
	s := serveBackends(t, b)
	attach(t, s, moby.ContainerAttachOptions{})
	answered := make(chan error, 1)
	c := s.client(t)
	go func() {
		_, err := c.ContainerStop(testContext(t), "x", moby.ContainerStopOptions{})
		answered <- err
	}()
	await(t, work.began, "the stop begins")
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	await(t, p.closed, "the stream ends while the change goes on")
	close(work.release)
	if err := <-work.cut; err != nil {
		t.Errorf("the change was cut off: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the client was told %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A change goes on when the client that asked for it leaves.
func TestChangesSurviveTheirClient(t *testing.T) {
	work := newSlow()
	b := refusing()
	b.lifecycle = work
	s := serveBackends(t, b)
	ctx, leave := context.WithCancel(testContext(t))
	left := make(chan struct{})
	c := s.client(t)
	go func() {
		c.ContainerStop(ctx, "x", moby.ContainerStopOptions{})
		close(left)
	}()
	await(t, work.began, "the stop begins")
	leave()
	await(t, left, "the client leaves")
	close(work.release)
	if err := <-work.cut; err != nil {
		t.Errorf("the change was cut off: %v", err)
	}
}
