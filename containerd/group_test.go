package containerd

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeShim runs, as a real one, until it is told to end.
type fakeShim struct {
	name  string
	mu    sync.Mutex
	tasks map[string]bool
	dead  bool
	ended atomic.Bool
	onEnd func()
}

func (s *fakeShim) address() string { return s.name }
func (s *fakeShim) process() int    { return 0 }
func (s *fakeShim) release()        {}

func (s *fakeShim) end() {
	s.mu.Lock()
	s.dead = true
	s.mu.Unlock()
	s.ended.Store(true)
	if s.onEnd != nil {
		s.onEnd()
	}
}

func (s *fakeShim) alive() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.dead }

func (s *fakeShim) create(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return fmt.Errorf("%s has ended", s.name)
	}
	s.tasks[id] = true
	return nil
}

// remove is answered only if the shim does not end before it has.
func (s *fakeShim) remove(id string) error {
	s.mu.Lock()
	delete(s.tasks, id)
	s.mu.Unlock()
	runtime.Gosched() // the answer is on its way
	if !s.alive() {
		return fmt.Errorf("%s ended while %s was being deleted", s.name, id)
	}
	return nil
}

// Whatever is created and deleted at the same time: no task is created in a
// shim that ends, there is one shim at a time, and at last there is none.
func TestGroupNeverJoinsAnEndingShim(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rounds := rapid.SliceOfN(rapid.IntRange(1, 4), 2, 8).Draw(rt, "rounds per task")
		failing := rapid.SliceOfN(rapid.IntRange(0, 9), len(rounds), len(rounds)).Draw(rt, "fails when 0")
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		g := newGroup("p")
		g.linger = time.Duration(rapid.IntRange(0, 2).Draw(rt, "linger")) * 10 * time.Microsecond
		var alive, started atomic.Int32
		var wg sync.WaitGroup
		errs := make(chan error, 100)
		for i, n := range rounds {
			wg.Go(func() {
				id := fmt.Sprintf("c%d", i)
				for round := range n {
					in, err := g.join(ctx)
					if err != nil {
						errs <- err
						return
					}
					first := in == nil
					if first {
						if alive.Add(1) > 1 {
							errs <- fmt.Errorf("a second shim was started beside a running one")
						}
						in = &fakeShim{name: fmt.Sprintf("shim%d", started.Add(1)), tasks: map[string]bool{}, onEnd: func() { alive.Add(-1) }}
					}
					s := in.(*fakeShim)
					err = s.create(id)
					if failing[i] == 0 && round == 0 {
						// runc refuses: the task goes, and a shim that was started for it.
						if err := s.remove(id); err != nil {
							errs <- err
						}
						if first {
							s.end()
						}
						g.created(id, nil, first)
						continue
					}
					if err != nil {
						errs <- err
						g.created(id, nil, first)
						return
					}
					g.created(id, in, first)
					g.leave(id)
					if err := s.remove(id); err != nil {
						errs <- err
					}
					g.deleted(id, true)
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			rt.Error(err)
		}
		for {
			g.mu.Lock()
			idle, changed := g.shim != nil, g.changed
			g.mu.Unlock()
			if !idle {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				rt.Fatal("an idle shim stays")
			}
		}
		if n := alive.Load(); n != 0 {
			rt.Errorf("%d shims are left", n)
		}
		if g.shim != nil || len(g.members) > 0 || g.creating+g.deleting > 0 || g.starting || g.ending {
			rt.Errorf("at last the group is %+v", g)
		}
	})
}

// A shim does not end while something is created or deleted in it.
func TestGroupStaysWhileInUse(t *testing.T) {
	for name, end := range map[string]func(g *group){
		"a deletion": func(g *group) { g.deleted("a", true) },
		"a creation": func(g *group) { g.created("a", nil, false) },
	} {
		g := newGroup("p")
		s := &fakeShim{name: "s", tasks: map[string]bool{}}
		g.adopt("b", s)
		if name == "a deletion" {
			g.adopt("a", s)
			g.leave("a")
		} else if _, err := g.join(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.leave("b")
		g.deleted("b", true)
		if s.ended.Load() {
			t.Errorf("the shim ended during %s", name)
		}
		end(g)
		if !s.ended.Load() {
			t.Errorf("after %s: the shim's end was not awaited", name)
		}
	}
}

// Lone containers share shims, a few each, and places are used again. What
// projects share is another's.
func TestLoneContainersShareInSmallGroups(t *testing.T) {
	var all groups
	all.of("p", "project")
	sizes := map[string]int{}
	for i := range 2*maxLone + 1 {
		sizes[all.lone(fmt.Sprint("c", i))]++
	}
	if sizes["lone 0"] != maxLone || sizes["lone 1"] != maxLone || sizes["lone 2"] != 1 || len(sizes) != 3 {
		t.Errorf("groups %v", sizes)
	}
	g := all.known("c0")
	all.forget("c0")
	if name := all.lone("next"); name != "lone 0" || all.known("next") != g {
		t.Errorf("the free place in %q was not used, but one in %q", g.name, name)
	}
}

// The shim of lone containers waits for a next one, for a time.
func TestLoneShimLingers(t *testing.T) {
	var all groups
	g := all.of("a", all.lone("a"))
	g.linger = time.Hour
	s := &fakeShim{name: "s", tasks: map[string]bool{}}
	g.adopt("a", s)
	g.leave("a")
	g.deleted("a", true)
	all.forget("a")
	if s.ended.Load() {
		t.Error("it did not wait")
	}
	if in, err := all.of("b", all.lone("b")).join(t.Context()); err != nil || in != s {
		t.Errorf("joined %v: %v", in, err)
	}
	g.created("b", s, false)
	g.leave("b")
	g.deleted("b", true)
	all.release()
	if !s.ended.Load() {
		t.Error("a daemon that stops left an idle shim")
	}
}

// Those who come while the first starts the shim wait for it and then join.
func TestGroupStartsOneShim(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	g := newGroup("p")
	in, err := g.join(ctx)
	if err != nil || in != nil {
		t.Fatalf("first: %v, %v", in, err)
	}
	joined := make(chan process, 5)
	for range 5 {
		go func() {
			in, err := g.join(ctx)
			if err != nil {
				t.Error(err)
			}
			joined <- in
		}()
	}
	select {
	case in := <-joined:
		t.Fatalf("somebody joined %v before the shim had started", in)
	case <-time.After(20 * time.Millisecond):
	}
	s := &fakeShim{name: "s", tasks: map[string]bool{"a": true}}
	g.created("a", s, true)
	for range 5 {
		if in := <-joined; in != s {
			t.Errorf("joined %v", in)
		}
	}
}

// When the first fails, exactly one of those who waited starts it.
func TestGroupFirstFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	g := newGroup("p")
	if _, err := g.join(ctx); err != nil {
		t.Fatal(err)
	}
	joined := make(chan process, 3)
	for range 3 {
		go func() {
			in, err := g.join(ctx)
			if err != nil {
				t.Error(err)
			}
			joined <- in
		}()
	}
	g.created("a", nil, true)
	if in := <-joined; in != nil {
		t.Fatalf("joined %v of nobody", in)
	}
	s := &fakeShim{name: "s", tasks: map[string]bool{}}
	g.created("b", s, true)
	for range 2 {
		if in := <-joined; in != s {
			t.Errorf("joined %v", in)
		}
	}
}

// A shim that is found dead is forgotten with its tasks.
func TestGroupForgetsKilledShim(t *testing.T) {
	ctx := context.Background()
	g := newGroup("p")
	s := &fakeShim{name: "s", tasks: map[string]bool{"a": true}}
	g.adopt("a", s)
	g.adopt("b", s)
	s.dead = true
	in, err := g.join(ctx)
	if err != nil || in != nil {
		t.Fatalf("joined %v: %v", in, err)
	}
	if !s.ended.Load() || len(g.members) != 0 {
		t.Errorf("ended %v, members %v", s.ended.Load(), g.members)
	}
	next := &fakeShim{name: "next", tasks: map[string]bool{}}
	g.created("c", next, true)
	// The dead one's tasks are deleted late, and do not end the next one.
	g.leave("a")
	g.deleted("a", true)
	if g.shim != next || next.ended.Load() {
		t.Errorf("shim %v", g.shim)
	}
}

// A second shim of a group is neither joined nor forgotten.
func TestGroupAdoptsSecondShim(t *testing.T) {
	g := newGroup("p")
	first, second := &fakeShim{name: "1"}, &fakeShim{name: "2"}
	g.adopt("a", first)
	g.adopt("b", second)
	g.adopt("c", second)
	if len(g.members) != 1 || len(g.shims()) != 2 {
		t.Errorf("members %v, shims %v", g.members, g.shims())
	}
	if in, err := g.join(t.Context()); err != nil || in != first {
		t.Errorf("joined %v: %v", in, err)
	}
}

// Waiting is bounded by the caller and says what it waited for.
func TestGroupWaitIsBounded(t *testing.T) {
	g := newGroup("p")
	if _, err := g.join(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := g.join(ctx); err == nil || err.Error() != `group "p": waiting for its shim to start or end: context deadline exceeded` {
		t.Errorf("error %v", err)
	}
}

func TestFeedKeepsOrderAcrossReaders(t *testing.T) {
	f := newFeed[int]()
	for i := range 100 {
		f.put(i)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ch := f.read(ctx)
	for i := range 40 {
		if got := <-ch; got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	cancel()
	next := 40
	for got := range ch { // at most one more
		if got != next {
			t.Fatalf("got %d, want %d", got, next)
		}
		next++
	}
	rest := f.read(t.Context())
	for ; next < 100; next++ {
		if got := <-rest; got != next {
			t.Fatalf("got %d, want %d", got, next)
		}
	}
}
