package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
)

// follower is the state of Follow; only its loop touches it.
//
//	started ──► alive, reading ──► died, reading ──► (end of output) reported
//	               │       ▲ ▲                             ▲
//	               │       │ └─ started ── again, reading ─┘
//	               │       └────── died, its policy starts it again: reported
//	               └─────────► alive, not reading ──► died: reported
//
// The daemon does not end a container's output while its policy starts it
// again.
type follower struct {
	ctx     context.Context
	b       Backend
	p       *Printer
	o       Options
	runs    map[string]*run
	cursors map[string]*cursor
	lines   chan delivery
	began   time.Time
	old     map[string]bool // those that existed when the following began
}

// run is one container's present run.
type run struct {
	Target
	reading bool // its output is being read
	died    bool
	code    int
	restart bool // it has started again while the last run's output is read
	again   bool // it died, and its policy starts it again
	gone    bool // removed
}

// delivery is a line, or with end the end of a container's output.
type delivery struct {
	id   string
	line Line
	end  bool
	err  error
}

func (f *follower) loop(events <-chan Event, broken <-chan error) error {
	for {
		if f.idle() && (f.o.Idle == nil || f.o.Idle()) {
			return nil
		}
		select {
		case d := <-f.lines:
			if err := f.deliver(d); err != nil {
				return err
			}
		case e := <-events:
			f.happen(e)
		case err := <-broken:
			if f.ctx.Err() != nil {
				return context.Cause(f.ctx)
			}
			return fmt.Errorf("events: %w (%w)", err, errdefs.ErrUnavailable)
		case <-f.o.Recheck:
			if err := f.refresh(); err != nil {
				return err
			}
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
}

// idle says that no container is alive and no output is left to print.
func (f *follower) idle() bool {
	for _, r := range f.runs {
		if r.reading || !r.died && !r.gone {
			return false
		}
	}
	return true
}

// start begins to follow a run.
func (f *follower) start(t Target) {
	if r, ok := f.runs[t.ID]; ok && r.reading {
		r.restart, r.again = true, false // a next run, or this one's own event
		return
	}
	r := &run{Target: t}
	f.runs[t.ID] = r
	if f.o.Shown != nil && !f.o.Shown(t) {
		return
	}
	f.p.Announce(t.Name)
	if f.cursors[t.ID] == nil {
		f.cursors[t.ID] = &cursor{}
	}
	c := *f.cursors[t.ID]
	r.reading = true
	go f.read(t, f.from(t, c), c)
}

// from says what of a run's output is still to be printed.
func (f *follower) from(t Target, c cursor) Query {
	q := Query{Since: c.at, Until: f.o.Until, Follow: true}
	switch {
	case !c.at.IsZero():
	case f.o.Tail == "0" && f.old == nil, // from now on
		f.old[t.ID]: // nothing of its earlier runs was wanted, or there was nothing
		q.Since = f.began
	default:
		q.Since = f.o.Since
	}
	return q
}

// read delivers a container's output; what c says was printed already is left
// out.
func (f *follower) read(t Target, q Query, c cursor) {
	send := func(d delivery) bool {
		d.id = t.ID
		select {
		case f.lines <- d:
			return true
		case <-f.ctx.Done():
			return false
		}
	}
	body, err := f.b.Logs(f.ctx, t.ID, q)
	if err != nil {
		send(delivery{end: true, err: err})
		return
	}
	r := NewReader(t.Name, body)
	defer r.Close()
	stop := context.AfterFunc(f.ctx, func() { r.Close() })
	defer stop()
	for {
		l, err := r.Next()
		if err != nil {
			send(delivery{end: true, err: err})
			return
		}
		if c.same > 0 && l.Time.Equal(c.at) {
			c.same--
			continue
		}
		if !send(delivery{line: l}) {
			return
		}
	}
}

func (f *follower) deliver(d delivery) error {
	r := f.runs[d.id]
	if !d.end {
		f.cursors[d.id].move(d.line.Time)
		f.p.Print(d.line)
		return nil
	}
	r.reading = false
	if d.err != nil && !errors.Is(d.err, io.EOF) && !errdefs.IsNotFound(d.err) && f.ctx.Err() == nil {
		return fmt.Errorf("log of %q: %w", r.Name, d.err)
	}
	switch {
	case r.died:
		f.report(r)
	case r.gone:
		delete(f.runs, d.id)
	case r.restart:
		f.start(r.Target)
	case r.again: // and now it does not: somebody has stopped it
		r.died = true
	}
	return nil
}

func (f *follower) happen(e Event) {
	switch e.What {
	case HasStarted:
		f.start(e.Target)
		if f.o.Started != nil {
			f.o.Started(e.Target)
		}
	case HasDied:
		r, ok := f.runs[e.ID]
		if !ok {
			r = &run{Target: e.Target}
			f.runs[e.ID] = r
		}
		r.died, r.code, r.restart = true, e.ExitCode, false
		if again, err := f.b.Alive(f.ctx, e.ID); err == nil && again {
			r.died, r.again = false, true
			f.report(r)
		} else if !r.reading {
			f.report(r)
		}
	case IsGone:
		if r, ok := f.runs[e.ID]; ok {
			if r.gone = true; !r.reading {
				delete(f.runs, e.ID)
			}
		}
		delete(f.cursors, e.ID)
	}
}

// report tells of a run's end, and goes on with a next one that has begun.
func (f *follower) report(r *run) {
	if f.o.Exited != nil {
		f.o.Exited(Exit{Target: r.Target, Code: r.code, Again: r.again})
	}
	if r.restart {
		delete(f.runs, r.ID)
		f.start(r.Target)
	}
}

// refresh finds out about containers that ended without an event of their own:
// they were stopped while they waited to be started again.
func (f *follower) refresh() error {
	targets, err := f.b.Targets(f.ctx)
	if err != nil {
		return err
	}
	alive := map[string]bool{}
	for _, t := range targets {
		alive[t.ID] = t.Alive
	}
	for id, r := range f.runs {
		if r.again && !alive[id] {
			r.died = true
		}
	}
	return nil
}
