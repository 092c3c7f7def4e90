package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"gantry/project"
	"gantry/scheduler"

	"github.com/google/go-cmp/cmp"
)

// gate is a driver whose steps, by container name, block until they are let go.
type gate struct {
	mu      sync.Mutex
	began   map[string]chan struct{} // closed when the step has begun
	results map[string]chan error    // what the step returns
	most    int                      // steps that worked at once
	now     int
}

func newGate(names ...string) *gate {
	g := &gate{began: map[string]chan struct{}{}, results: map[string]chan error{}}
	for _, n := range names {
		g.began[n], g.results[n] = make(chan struct{}), make(chan error, 1)
	}
	return g
}

func (g *gate) Observe(context.Context, scheduler.Query) (*scheduler.State, error) { return nil, nil }

func (g *gate) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	name := scheduler.Describe(a).Name
	g.mu.Lock()
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	defer func() { g.mu.Lock(); g.now--; g.mu.Unlock() }()
	report(scheduler.Progress{Text: "working"})
	began, held := g.began[name]
	if !held {
		return nil
	}
	close(began)
	select {
	case err := <-g.results[name]:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func steps(all ...scheduler.Step) *scheduler.Plan {
	for i := range all {
		all[i].ID = i
	}
	return &scheduler.Plan{Project: "shop", Steps: all}
}

func start(name string, needs ...int) scheduler.Step {
	return scheduler.Step{Action: scheduler.StartContainer{Name: name}, Needs: needs}
}

func await(name string, needs ...int) scheduler.Step {
	return scheduler.Step{Action: scheduler.WaitContainer{Name: name, Condition: project.Healthy}, Needs: needs}
}

// TestWaitsTakeNoPlace checks that as many waits as one likes leave the one
// worker free.
func TestWaitsTakeNoPlace(t *testing.T) {
	g := newGate("a", "b", "last")
	done := make(chan error, 1)
	go func() {
		done <- scheduler.Run(bounded(t), steps(await("a"), await("b"), start("free"), start("last", 2)), g, scheduler.RunOptions{Workers: 1}, nil)
	}()
	for _, name := range []string{"a", "b", "last"} { // last begins although both waits are under way
		begun(t, g, name)
	}
	for _, r := range g.results {
		r <- nil
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func begun(t *testing.T, g *gate, name string) {
	t.Helper()
	select {
	case <-g.began[name]:
	case <-bounded(t).Done():
		t.Fatalf("%s never began", name)
	}
}

func TestWorkersAreBounded(t *testing.T) {
	var all []scheduler.Step
	for i := range 30 {
		all = append(all, start(fmt.Sprint(i)))
	}
	g := newGate()
	if err := scheduler.Run(bounded(t), steps(all...), g, scheduler.RunOptions{Workers: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if g.most > 3 {
		t.Errorf("%d steps worked at once", g.most)
	}
}

// TestCancel checks that a cancelled run starts nothing new, ends waits at once
// and lets a step in flight finish.
func TestCancel(t *testing.T) {
	g := newGate("slow", "waiting")
	ctx, cancel := context.WithCancel(bounded(t))
	var mu sync.Mutex
	got := map[string][]scheduler.Status{}
	cut := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- scheduler.Run(ctx, steps(start("slow"), await("waiting"), start("next", 0), start("after", 1)), g, scheduler.RunOptions{}, func(e scheduler.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Status != scheduler.StatusProgress {
				got[e.Name] = append(got[e.Name], e.Status)
			}
			if e.Name == "waiting" && e.Status == scheduler.StatusSkipped {
				close(cut)
			}
		})
	}()
	begun(t, g, "slow")
	begun(t, g, "waiting")
	cancel()
	<-cut // the wait ends although the other step is still in flight
	select {
	case err := <-done:
		t.Fatalf("run returned %v while a step was in flight", err)
	default:
	}
	g.results["slow"] <- nil
	err := <-done
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "3 of 4 steps left undone") {
		t.Errorf("got %v", err)
	}
	want := map[string][]scheduler.Status{
		"slow":    {scheduler.StatusStarted, scheduler.StatusDone},
		"waiting": {scheduler.StatusStarted, scheduler.StatusSkipped},
		"next":    {scheduler.StatusSkipped},
		"after":   {scheduler.StatusSkipped},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestErrorsAreJoinedInStepOrder checks that each names its step, whichever
// failed first.
func TestErrorsAreJoinedInStepOrder(t *testing.T) {
	g := newGate("a", "b")
	done := make(chan error, 1)
	plan := steps(start("a"), start("b"))
	failed := make(chan string, 2)
	go func() {
		done <- scheduler.Run(bounded(t), plan, g, scheduler.RunOptions{}, func(e scheduler.Event) {
			if e.Status == scheduler.StatusFailed {
				failed <- e.Name
			}
		})
	}()
	first, second := errors.New("no a"), errors.New("no b")
	begun(t, g, "a")
	g.results["b"] <- second
	<-failed
	g.results["a"] <- first
	err := <-done
	if !errors.Is(err, first) || !errors.Is(err, second) {
		t.Fatalf("got %v", err)
	}
	a, b := strings.Index(err.Error(), "start container a: no a"), strings.Index(err.Error(), "start container b: no b")
	if a < 0 || b < a {
		t.Errorf("got %v", err)
	}
}

// TestToleratedFailure checks that an optional wait's failure is told, releases
// who tolerates it, and does not fail the run.
func TestToleratedFailure(t *testing.T) {
	g := newGate("db")
	g.results["db"] <- errors.New("unhealthy")
	wait := await("db")
	wait.Optional = true
	next := start("web", 0)
	next.Tolerate = []int{0}
	var events []scheduler.Event
	if err := scheduler.Run(bounded(t), steps(wait, next), g, scheduler.RunOptions{}, func(e scheduler.Event) {
		e.Elapsed = 0
		if e.Status != scheduler.StatusProgress && e.Status != scheduler.StatusStarted {
			events = append(events, e)
		}
	}); err != nil {
		t.Fatal(err)
	}
	want := []scheduler.Event{
		{Step: 0, Kind: "container", Verb: "wait", Name: "db", Condition: project.Healthy, Status: scheduler.StatusFailed, Error: "unhealthy", Optional: true},
		{Step: 1, Kind: "container", Verb: "start", Name: "web", Status: scheduler.StatusDone},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
}

// TestRunLeavesNoGoroutine compares before and after, once all that Run started
// has had the chance to end.
func TestRunLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		var all []scheduler.Step
		for i := range 50 {
			all = append(all, start(fmt.Sprint(i)), await(fmt.Sprint(i), 2*i))
		}
		_ = scheduler.Run(ctx, steps(all...), newGate(), scheduler.RunOptions{}, func(e scheduler.Event) {
			if e.Step == 40 {
				cancel()
			}
		})
		cancel()
	}
	ctx := bounded(t)
	for runtime.NumGoroutine() > before {
		if ctx.Err() != nil {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// TestEventsTellTheWhole checks that each step's events begin with started, end
// with an end, and have progress only between.
func TestEventsTellTheWhole(t *testing.T) {
	d := host()
	d.Publish("nginx", scheduler.Image{ID: "n"})
	plan := build(t, d, stack(), scheduler.Options{Seed: "a"})
	all := make([][]scheduler.Status, len(plan.Steps))
	if err := scheduler.Run(bounded(t), plan, d, scheduler.RunOptions{}, func(e scheduler.Event) {
		all[e.Step] = append(all[e.Step], e.Status)
	}); err != nil {
		t.Fatal(err)
	}
	for i, got := range all {
		got = slices.DeleteFunc(got, func(s scheduler.Status) bool { return s == scheduler.StatusProgress })
		if got[0] != all[i][0] || !slices.Equal(got, []scheduler.Status{scheduler.StatusStarted, scheduler.StatusDone}) {
			t.Errorf("step %d: %v", i, all[i])
		}
	}
}

// BenchmarkBuild plans a hundred services that are not there yet.
func BenchmarkBuild(b *testing.B) {
	var services []project.Service
	for i := range 100 {
		var edits []func(*project.Service)
		for j := max(0, i-3); j < i; j++ {
			edits = append(edits, needs(fmt.Sprintf("s%02d", j), project.Healthy))
		}
		services = append(services, service(fmt.Sprintf("s%02d", i), append(edits, probe("true"), publish(fmt.Sprint(9000+i), "80/tcp"))...))
	}
	for _, c := range []struct {
		name   string
		before []project.Service
		o      scheduler.Options
	}{{"new", nil, scheduler.Options{}}, {"again", services, scheduler.Options{}}, {"recreate", services, scheduler.Options{Recreate: scheduler.RecreateAlways}}} {
		b.Run(c.name, func(b *testing.B) {
			d, p := host(), shop(services...)
			if c.before != nil {
				up(b, d, shop(c.before...), scheduler.Options{Seed: "a"})
			}
			c.o.Seed = "b"
			s := observe(b, d, scheduler.QueryFor(p, c.o))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scheduler.Build(p, s, c.o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
