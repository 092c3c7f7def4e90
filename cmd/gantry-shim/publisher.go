package main

import (
	"context"
	"sync"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/log"
)

const (
	// queueLimit bounds what is kept for a container while the daemon is away.
	// Exits are always kept: there is one for each process.
	queueLimit = 64
	// flushTimeout bounds the wait for the last events when the shim ends.
	flushTimeout = 3 * time.Second
)

// publisher sends events in order for each container, and lets no container
// wait for another: containerd's service hands all of them over in one
// goroutine, and an exit is told only when the log is complete and the exit
// file is written.
type publisher struct {
	shim.Publisher
	procs *processes
	exits string // directory, "" for none

	mu     sync.Mutex
	queues map[string][]item // one goroutine runs for each that is there
	idle   chan struct{}     // closed when there is none, replaced when one comes
}

type item struct {
	ctx   context.Context
	topic string
	event events.Event
	ready <-chan struct{} // nil: at once
}

func newPublisher(p shim.Publisher, procs *processes, exits string) *publisher {
	idle := make(chan struct{})
	close(idle)
	return &publisher{Publisher: p, procs: procs, exits: exits, queues: map[string][]item{}, idle: idle}
}

// Publish queues an event and returns at once.
func (p *publisher) Publish(ctx context.Context, topic string, event events.Event) error {
	it := item{ctx: context.WithoutCancel(ctx), topic: topic, event: event}
	exit, isExit := event.(*eventstypes.TaskExit)
	if isExit {
		// The wait for the log begins now, whatever is still to be sent.
		ready := make(chan struct{})
		it.ready = ready
		go func() {
			defer close(ready)
			p.settle(it.ctx, exit)
		}()
	}
	id := ""
	if e, ok := event.(interface{ GetContainerID() string }); ok {
		id = e.GetContainerID()
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	queue, running := p.queues[id]
	if len(queue) >= queueLimit && !isExit {
		log.G(ctx).WithField("id", id).WithField("topic", topic).Debug("too many events wait for the daemon, one is dropped")
		return nil
	}
	p.queues[id] = append(queue, it)
	if running {
		return nil
	}
	if len(p.queues) == 1 {
		p.idle = make(chan struct{})
	}
	go p.run(id)
	return nil
}

// run sends a container's events until there are no more.
func (p *publisher) run(id string) {
	for {
		p.mu.Lock()
		queue := p.queues[id]
		if len(queue) == 0 {
			delete(p.queues, id)
			if len(p.queues) == 0 {
				close(p.idle)
			}
			p.mu.Unlock()
			return
		}
		it := queue[0]
		p.queues[id] = queue[1:]
		p.mu.Unlock()

		if it.ready != nil {
			<-it.ready // bounded by settleTimeout
		}
		if err := p.Publisher.Publish(it.ctx, it.topic, it.event); err != nil {
			log.G(it.ctx).WithError(err).WithField("topic", it.topic).Warn("event is not delivered yet")
		}
	}
}

// settle completes what must be on disk before an exit is told.
func (p *publisher) settle(ctx context.Context, e *eventstypes.TaskExit) {
	k := key{container: e.ContainerID}
	if e.ID != e.ContainerID {
		k.exec = e.ID
	}
	proc := p.procs.get(k)
	if proc == nil {
		return // deleted: whoever did that was told the code
	}
	defer proc.setSettled()
	if !proc.awaitDrained() {
		log.G(ctx).WithField("id", e.ContainerID).WithField("exec_id", k.exec).Info("a process's output is still held open after its exit")
	}
	if k.exec == "" && p.exits != "" {
		if err := writeExit(p.exits, e); err != nil {
			log.G(ctx).WithError(err).Error("a daemon that is away now will not learn an exit code")
		}
	}
}

// flush waits until all events were sent or handed to the retry queue.
func (p *publisher) flush(ctx context.Context) error {
	p.mu.Lock()
	idle := p.idle
	p.mu.Unlock()
	t := time.NewTimer(flushTimeout)
	defer t.Stop()
	select {
	case <-idle:
	case <-ctx.Done():
	case <-t.C:
		log.G(ctx).Warn("the shim ends before the daemon has taken all events")
	}
	return nil
}
