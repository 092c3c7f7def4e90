package scheduler

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-multierror"
)

// DefaultWorkers is how many steps run at once when RunOptions says nothing.
const DefaultWorkers = 8

// RunOptions of Run.
type RunOptions struct {
	// Workers bounds the steps that work at once; pulls and builds have as many
	// places of their own. Waits and stops take none, as they mostly wait.
	Workers int
}

// lane is a class of steps with places of its own.
type lane int

const (
	laneWork lane = iota
	lanePull
	laneWait // not bounded
)

// laneOf says which places a step needs, and whether it may be cut off when
// the run is cancelled: a step that changes containers finishes what it began,
// a wait, a hook, a pull or a build leaves nothing half done.
func laneOf(a Action) (l lane, interruptible bool) {
	switch a.(type) {
	case WaitContainer, RunHook:
		return laneWait, true
	case PullImage, BuildImage:
		return lanePull, true
	case StopContainer, RestartContainer:
		return laneWait, false
	}
	return laneWork, false
}

// Run carries plan out through d. A step runs when all that it needs is done;
// a step whose need failed or was skipped is skipped, unless it tolerates that.
// Other branches go on. When ctx is cancelled nothing new starts, waits and
// pulls end at once and the other steps in flight finish.
//
// emit is called from one goroutine at a time, for each change of a step's
// status; while it blocks, progress reports are dropped. The error joins those
// of all failed steps, in step order, each naming its step. No goroutine
// outlives Run.
func Run(ctx context.Context, plan *Plan, d Driver, o RunOptions, emit func(Event)) error {
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	if emit == nil {
		emit = func(Event) {}
	}
	r := &runner{
		ctx: ctx, plan: plan, driver: d, emit: emit,
		open:     make([]int, len(plan.Steps)),
		blocks:   make([][]int, len(plan.Steps)),
		doomed:   make([]bool, len(plan.Steps)),
		status:   make([]Status, len(plan.Steps)),
		began:    make([]time.Time, len(plan.Steps)),
		errs:     make([]error, len(plan.Steps)),
		images:   make(map[ImageQuery]string),
		standIn:  make(map[string]string),
		messages: make(chan message, 64),
	}
	r.free[laneWork], r.free[lanePull], r.free[laneWait] = o.Workers, o.Workers, len(plan.Steps)
	return r.run()
}

// runner is the coordinator: it alone touches these fields.
type runner struct {
	ctx      context.Context
	plan     *Plan
	driver   Driver
	emit     func(Event)
	open     []int                 // needs that have not ended, by step
	blocks   [][]int               // the steps that need it, by step
	doomed   []bool                // a need that it does not tolerate failed
	status   []Status              // "" before it starts
	began    []time.Time           // by step
	errs     []error               // by step
	ready    [3]intHeap            // by lane
	free     [3]int                // places, by lane
	running  int                   // steps in flight
	images   map[ImageQuery]string // IDs that conditions were decided with
	standIn  map[string]string     // containers that were not made, to those that stay
	messages chan message          // from the steps in flight
}

// message is what a step in flight tells the coordinator: progress, or its end.
type message struct {
	step     int
	progress Progress
	ended    bool
	err      error
}

func (r *runner) run() error {
	for i := range r.plan.Steps {
		s := &r.plan.Steps[i]
		r.open[i] = len(s.Needs)
		for _, need := range s.Needs {
			r.blocks[need] = append(r.blocks[need], i)
		}
	}
	for i, open := range r.open {
		if open == 0 && r.status[i] == "" {
			r.release(i)
		}
	}
	for r.launch(); r.running > 0; r.launch() {
		m := <-r.messages
		if !m.ended {
			r.progress(m)
			continue
		}
		l, _ := laneOf(r.plan.Steps[m.step].Action)
		r.free[l]++
		r.running--
		r.end(m.step, m.err)
	}
	return r.result()
}

// release makes a step ready whose needs have all ended, or skips it.
func (r *runner) release(i int) {
	if r.doomed[i] {
		r.settle(i, StatusSkipped, "")
		return
	}
	if s := &r.plan.Steps[i]; len(s.OnlyIf) > 0 && r.ctx.Err() == nil {
		switch wanted, err := r.changed(s.OnlyIf); {
		case err != nil:
			r.errs[i] = err
			r.settle(i, StatusFailed, err.Error())
			return
		case !wanted:
			if c, ok := s.Action.(CreateContainer); ok {
				r.standIn[c.ID] = c.Replaces
			}
			r.settle(i, StatusUnchanged, "")
			return
		}
	}
	l, _ := laneOf(r.plan.Steps[i].Action)
	heap.Push(&r.ready[l], i)
}

// launch starts as many ready steps as there are places, lowest number first.
func (r *runner) launch() {
	for l := range r.ready {
		for r.free[l] > 0 && len(r.ready[l]) > 0 && r.ctx.Err() == nil {
			r.start(heap.Pop(&r.ready[l]).(int), lane(l))
		}
	}
}

func (r *runner) start(i int, l lane) {
	r.free[l]--
	r.running++
	r.status[i], r.began[i] = StatusStarted, time.Now()
	s := &r.plan.Steps[i]
	action := r.settled(s.Action)
	r.emit(s.event(StatusStarted))
	ctx := r.ctx
	if _, interruptible := laneOf(s.Action); !interruptible {
		ctx = context.WithoutCancel(ctx)
	}
	go func() {
		err := r.driver.Apply(ctx, action, func(p Progress) {
			select {
			case r.messages <- message{step: i, progress: p}:
			default: // whoever watches is slow: the next report says more anyway
			}
		})
		r.messages <- message{step: i, ended: true, err: err}
	}()
}

func (r *runner) progress(m message) {
	if r.status[m.step] != StatusStarted {
		return // a report that came after the end
	}
	e := r.plan.Steps[m.step].event(StatusProgress)
	e.Progress = m.progress
	r.emit(e)
}

// end settles a step that was in flight.
func (r *runner) end(i int, err error) {
	switch {
	case err == nil:
		r.settle(i, StatusDone, "")
	case r.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		r.settle(i, StatusSkipped, "cancelled")
	default:
		r.errs[i] = err
		r.settle(i, StatusFailed, err.Error())
	}
}

// settle gives a step its last status and releases what waited for it.
func (r *runner) settle(i int, status Status, why string) {
	s := &r.plan.Steps[i]
	r.status[i] = status
	e := s.event(status)
	e.Error = why
	e.Optional = status == StatusFailed && s.Optional
	if !r.began[i].IsZero() {
		e.Elapsed = int64(time.Since(r.began[i]))
	}
	r.emit(e)
	for _, next := range r.blocks[i] {
		if status != StatusDone && status != StatusUnchanged && !tolerates(&r.plan.Steps[next], i) {
			r.doomed[next] = true
		}
		if r.open[next]--; r.open[next] == 0 {
			r.release(next)
		}
	}
}

func tolerates(s *Step, need int) bool {
	for _, t := range s.Tolerate {
		if t == need {
			return true
		}
	}
	return false
}

// result joins the errors. Steps that a cancelled run never started are told
// of as skipped.
func (r *runner) result() error {
	var all *multierror.Error
	left := 0
	for i := range r.plan.Steps {
		s := &r.plan.Steps[i]
		if r.errs[i] != nil && !s.Optional {
			all = multierror.Append(all, fmt.Errorf("%s: %w", s.what(), r.errs[i]))
		}
		if r.status[i] == "" {
			r.emit(s.event(StatusSkipped))
		}
		if s := r.status[i]; s != StatusDone && s != StatusUnchanged && s != StatusFailed {
			left++
		}
	}
	if left > 0 && r.ctx.Err() != nil {
		all = multierror.Append(all, fmt.Errorf("cancelled, %d of %d steps left undone: %w", left, len(r.plan.Steps), context.Cause(r.ctx)))
	}
	return all.ErrorOrNil()
}

// intHeap keeps step numbers, lowest first.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
