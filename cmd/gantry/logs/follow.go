package logs

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
)

// Target is a container whose output is wanted.
type Target struct {
	ID      string
	Name    string // as the prefix shows it
	Service string
	Alive   bool // running, paused, or about to be restarted
}

// Happening is what can happen to a target.
type Happening string

const (
	HasStarted Happening = "start"
	HasDied    Happening = "die"
	IsGone     Happening = "destroy"
)

// Event tells that something has happened to a target.
type Event struct {
	Target
	What     Happening
	ExitCode int
}

// Query selects entries. The zero times are unbounded; Tail "" is all.
type Query struct {
	Since, Until time.Time
	Tail         string
	Follow       bool
}

// Backend gives access to the containers of one project.
type Backend interface {
	// Targets lists those that exist.
	Targets(ctx context.Context) ([]Target, error)
	// Logs opens a container's output, with timestamps, as the Engine API
	// answers it.
	Logs(ctx context.Context, id string, q Query) (io.ReadCloser, error)
	// Events tells what happens from the moment on at which it returns.
	Events(ctx context.Context) (<-chan Event, <-chan error)
	// Alive says whether a container that died will be started again.
	Alive(ctx context.Context, id string) (bool, error)
}

// Exit is the end of one run of a container.
type Exit struct {
	Target
	Code  int
	Again bool // its restart policy starts it again
}

// Show prints what there is, all containers' lines in the order of time.
func Show(ctx context.Context, b Backend, p *Printer, q Query) error {
	targets, err := b.Targets(ctx)
	if err != nil {
		return err
	}
	_, err = backlog(ctx, b, p, targets, q)
	return err
}

// cursor is how far a container's output has been printed.
type cursor struct {
	at   time.Time
	same int // lines printed that have this time
}

func (c *cursor) move(at time.Time) {
	if c == nil || at.IsZero() { // removed since; a stream without timestamps
		return
	}
	if c.at.Equal(at) {
		c.same++
	} else if at.After(c.at) {
		c.at, c.same = at, 1
	}
}

// source is one container's share of the backlog.
type source struct {
	*Reader
	c *cursor
}

func (s source) Next() (Line, error) {
	l, err := s.Reader.Next()
	if err == nil {
		s.c.move(l.Time)
	}
	return l, err
}

func backlog(ctx context.Context, b Backend, p *Printer, targets []Target, q Query) (map[string]*cursor, error) {
	following := q.Follow
	q.Follow = false
	var errs *multierror.Error
	var sources []Source
	cursors := map[string]*cursor{}
	for _, t := range targets {
		p.Announce(t.Name)
		body, err := b.Logs(ctx, t.ID, q)
		if err != nil {
			// removed since; or it keeps none, and only what comes can be had
			if !errdefs.IsNotFound(err) && !(following && errdefs.IsNotImplemented(err)) {
				errs = multierror.Append(errs, fmt.Errorf("log of %q: %w", t.Name, err))
			}
			continue
		}
		defer body.Close()
		cursors[t.ID] = &cursor{}
		sources = append(sources, source{NewReader(t.Name, body), cursors[t.ID]})
	}
	if err := Merge(sources, p.Print); err != nil && ctx.Err() == nil {
		errs = multierror.Append(errs, err)
	}
	return cursors, errs.ErrorOrNil()
}

// Options of Follow.
type Options struct {
	Query
	// Shown says whose output is printed; nil is everybody's. The others are
	// watched only.
	Shown func(Target) bool
	// Ready is called when no event can be missed any more.
	Ready func()
	// Started is called for every start that happens from then on.
	Started func(Target)
	// Exited is called after the last line of a run has been printed.
	Exited func(Exit)
	// Idle is called when nothing is alive, and again after each Recheck; true
	// ends the following. nil ends it at once.
	Idle    func() bool
	Recheck <-chan struct{}
}

func (o Options) following() Query {
	q := o.Query
	q.Follow = true
	return q
}

// Follow prints what there is, then what comes, of containers that exist and
// of those that start later. It returns nil when nothing is alive any more.
func Follow(ctx context.Context, b Backend, p *Printer, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{ctx: ctx, b: b, p: p, o: o, began: time.Now(), runs: map[string]*run{}, lines: make(chan delivery)}
	events, broken := b.Events(ctx)
	targets, err := b.Targets(ctx)
	if err != nil {
		return err
	}
	shown := slices.Clone(targets)
	if o.Shown != nil {
		shown = slices.DeleteFunc(shown, func(t Target) bool { return !o.Shown(t) })
	}
	if len(shown) > 0 && o.Tail != "0" {
		if f.cursors, err = backlog(ctx, b, p, shown, o.following()); err != nil {
			return err
		}
	}
	if f.cursors == nil {
		f.cursors = map[string]*cursor{}
	}
	for _, t := range targets {
		if t.Alive {
			f.start(t)
		}
	}
	f.old = map[string]bool{} // from here on, who starts has a first line to show
	for _, t := range targets {
		f.old[t.ID] = true
	}
	if o.Ready != nil {
		o.Ready()
	}
	return f.loop(events, broken)
}
