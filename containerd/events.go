package containerd

import (
	"context"
	"strings"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/runtime"
	"github.com/containerd/typeurl/v2"
)

// Exit tells that a process of a container has ended.
type Exit struct {
	ContainerID string
	ExecID      string // "" for the container's own process
	Pid         int
	Code        int
	At          time.Time
	OOMKilled   bool // the kernel killed a process of the container for lack of memory since it was created
}

// OOM tells that the kernel killed a process of a container for lack of memory.
type OOM struct {
	ContainerID string
	At          time.Time
}

// Exits delivers every exit since Open, in order, until ctx ends; an exit may
// come twice. There must be one reader at a time.
func (r *Runtime) Exits(ctx context.Context) <-chan Exit { return r.exits.read(ctx) }

// OOMs delivers every out-of-memory kill since Open until ctx ends. There must
// be one reader at a time.
func (r *Runtime) OOMs(ctx context.Context) <-chan OOM { return r.ooms.read(ctx) }

var topics = []string{
	`topic=="` + runtime.TaskCreateEventTopic + `"`,
	`topic=="` + runtime.TaskExitEventTopic + `"`,
	`topic=="` + runtime.TaskOOMEventTopic + `"`,
	`topic~="^/images/"`,
}

// subscribe returns when events are being kept.
func (r *Runtime) subscribe(run context.Context) {
	ch, errs := r.client.EventService().Subscribe(run, topics...)
	r.events.Go(func() {
		oom := map[string]bool{}
		for {
			err := r.receive(run, ch, errs, oom)
			if run.Err() != nil {
				return
			}
			// Only a containerd that runs elsewhere can go away.
			r.log.WithError(err).Warn("containerd's events were interrupted, subscribing again")
			select {
			case <-run.Done():
				return
			case <-time.After(resubscribeDelay):
			}
			ch, errs = r.client.EventService().Subscribe(run, topics...)
			r.reportStopped(run)
		}
	})
}

const resubscribeDelay = time.Second

func (r *Runtime) receive(run context.Context, ch <-chan *events.Envelope, errs <-chan error, oom map[string]bool) error {
	for {
		select {
		case <-run.Done():
			return run.Err()
		case err := <-errs:
			return err
		case env := <-ch:
			if env == nil || env.Namespace != r.cfg.Namespace {
				continue
			}
			if strings.HasPrefix(env.Topic, "/images/") {
				r.parsed.changed()
				continue
			}
			v, err := typeurl.UnmarshalAny(env.Event)
			if err != nil {
				r.log.WithError(err).Errorf("event %s is lost: it cannot be read", env.Topic)
				continue
			}
			switch e := v.(type) {
			case *eventstypes.TaskCreate:
				// A kill that was told after the exit is not the next task's.
				delete(oom, e.ContainerID)
			case *eventstypes.TaskOOM:
				oom[e.ContainerID] = true
				r.ooms.put(OOM{ContainerID: e.ContainerID, At: env.Timestamp})
			case *eventstypes.TaskExit:
				x := Exit{ContainerID: e.ContainerID, Pid: int(e.Pid), Code: int(e.ExitStatus), At: e.ExitedAt.AsTime()}
				if e.ID != e.ContainerID {
					x.ExecID = e.ID
				} else {
					x.OOMKilled = oom[e.ContainerID]
					delete(oom, e.ContainerID)
				}
				r.exits.put(x)
				if x.ExecID == "" {
					r.endings.told(x.ContainerID)
				}
			}
		}
	}
}

// reportStopped puts in the exits that happened while events were interrupted.
func (r *Runtime) reportStopped(run context.Context) {
	ctx, cancel := context.WithTimeout(r.with(run), callTimeout)
	defer cancel()
	list, err := r.list(ctx)
	if err != nil {
		r.log.WithError(err).Warn("tasks cannot be listed after events were interrupted")
		return
	}
	for _, t := range list {
		if t.Status == Stopped {
			r.exits.put(Exit{ContainerID: t.ContainerID, Pid: t.Pid, Code: t.Code, At: t.ExitedAt})
		}
	}
}
