package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/cmd/gantry/logs"
	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	engine "github.com/moby/moby/client"
)

// projectLogs gives package logs access to a project's containers.
type projectLogs struct {
	api      *engine.Client
	name     string
	services []string // none: all
	index    int
	first    map[string]string // names by ID of those that existed at the first look
}

var _ logs.Backend = (*projectLogs)(nil)

func (p *projectLogs) Targets(ctx context.Context) ([]logs.Target, error) {
	list, err := containers(ctx, p.api, p.name, selection{services: p.services, all: true, index: p.index})
	if err != nil {
		return nil, err
	}
	targets := make([]logs.Target, 0, len(list))
	first := map[string]string{}
	for _, c := range list {
		t := p.target(c.ID, nameOf(c), c.Labels)
		t.Alive = alive(c.State)
		first[c.ID] = nameOf(c)
		targets = append(targets, t)
	}
	if p.first == nil {
		p.first = first
	}
	return targets, nil
}

func alive(s container.ContainerState) bool {
	return s == container.StateRunning || s == container.StatePaused || s == container.StateRestarting
}

// before is the name that a container had at the first look, if it existed.
func (p *projectLogs) before(id string) (name string, ok bool) {
	name, ok = p.first[id]
	return name, ok
}

// ran lists the IDs of containers that are new since the first look and have
// been started.
func (p *projectLogs) ran(ctx context.Context) ([]string, error) {
	list, err := containers(ctx, p.api, p.name, selection{services: p.services, all: true, index: p.index})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range list {
		if _, before := p.first[c.ID]; !before && c.State != container.StateCreated {
			ids = append(ids, c.ID)
		}
	}
	return ids, nil
}

// replacement is how a container's name begins while it stands in for another.
var replacement = regexp.MustCompile(`^[0-9a-f]{12}_`)

func (p *projectLogs) target(id, name string, labels map[string]string) logs.Target {
	name = replacement.ReplaceAllString(name, "")
	return logs.Target{ID: id, Name: shortName(name, p.name), Service: labels[project.LabelService]}
}

func (p *projectLogs) Logs(ctx context.Context, id string, q logs.Query) (io.ReadCloser, error) {
	body, err := p.api.ContainerLogs(ctx, id, engine.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: q.Follow, Tail: q.Tail,
		Since: instant(q.Since), Until: instant(q.Until),
	})
	if err == nil || !errdefs.IsNotImplemented(err) || !q.Follow {
		return body, err
	}
	// Its log driver keeps nothing: what it writes from now on can be had.
	live, err := p.api.ContainerAttach(ctx, id, engine.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, err
	}
	return attachedBody{live.HijackedResponse}, nil
}

type attachedBody struct{ engine.HijackedResponse }

func (b attachedBody) Read(p []byte) (int, error) { return b.Reader.Read(p) }
func (b attachedBody) Close() error               { return b.Conn.Close() }

// instant writes a time as the Engine API takes it: seconds and nanoseconds
// since 1970, "" for none.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	nanos := strconv.Itoa(t.Nanosecond())
	return strconv.FormatInt(t.Unix(), 10) + "." + strings.Repeat("0", 9-len(nanos)) + nanos
}

func (p *projectLogs) Events(ctx context.Context) (<-chan logs.Event, <-chan error) {
	filters := make(engine.Filters).Add("type", string(events.ContainerEventType)).
		Add("label", project.LabelProject+"="+p.name).
		Add("event", string(logs.HasStarted), string(logs.HasDied), string(logs.IsGone))
	result := p.api.Events(ctx, engine.EventsListOptions{Filters: filters})
	out, errs := make(chan logs.Event), make(chan error, 1)
	go func() {
		for {
			select {
			case m := <-result.Messages:
				e, ok := p.event(m)
				if !ok {
					continue
				}
				select {
				case out <- e:
				case <-ctx.Done():
				}
			case err := <-result.Err:
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				errs <- err
				return
			}
		}
	}()
	return out, errs
}

func (p *projectLogs) event(m events.Message) (logs.Event, bool) {
	labels := m.Actor.Attributes
	if isOneOff(labels) || len(p.services) > 0 && !slices.Contains(p.services, labels[project.LabelService]) ||
		p.index > 0 && numberOf(labels) != p.index {
		return logs.Event{}, false
	}
	code, err := strconv.Atoi(labels["exitCode"])
	if err != nil {
		code = 0 // only an end has one
	}
	return logs.Event{Target: p.target(m.Actor.ID, labels["name"], labels), What: logs.Happening(m.Action), ExitCode: code}, true
}

func (p *projectLogs) Alive(ctx context.Context, id string) (bool, error) {
	found, err := p.api.ContainerInspect(ctx, id, engine.ContainerInspectOptions{})
	if err != nil {
		return false, err
	}
	return found.Container.State != nil && (found.Container.State.Running || found.Container.State.Restarting), nil
}

// kill ends what is alive, at once and without the project's lock.
func (p *projectLogs) kill(ctx context.Context) error {
	targets, err := p.Targets(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range targets {
		if !t.Alive {
			continue
		}
		_, err := p.api.ContainerKill(ctx, t.ID, engine.ContainerKillOptions{Signal: "SIGKILL"})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
