package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// bound is how long a test waits for what must happen.
const bound = 10 * time.Second

// world is a daemon with containers whose output and ends are scripted.
type world struct {
	mu     sync.Mutex
	cond   *sync.Cond
	order  []string
	boxes  map[string]*box
	events chan Event
	broken chan error
	last   int64 // time of the last line: no two have the same
}

// box is one container.
type box struct {
	Target
	entries []stamped
	dead    bool // its output ends when all was read
	again   bool // its policy starts it again: its output does not end
	mute    bool // its log driver keeps nothing
}

type stamped struct {
	at   time.Time
	text string
}

func newWorld() *world {
	w := &world{boxes: map[string]*box{}, events: make(chan Event, 100), broken: make(chan error, 1)}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	w.cond.Broadcast()
}

func (w *world) start(id string) {
	w.do(func() {
		b := w.boxes[id]
		if b == nil {
			b = &box{Target: Target{ID: id, Name: id, Service: strings.TrimRight(id, "-0123456789")}}
			w.boxes[id] = b
			w.order = append(w.order, id)
		}
		b.Alive, b.dead, b.again = true, false, false
		w.events <- Event{Target: b.Target, What: HasStarted}
	})
}

func (w *world) say(id, text string) {
	w.do(func() {
		w.last = max(w.last+1, time.Now().UnixNano())
		w.boxes[id].entries = append(w.boxes[id].entries, stamped{time.Unix(0, w.last), text})
	})
}

func (w *world) die(id string, code int, again bool) {
	w.do(func() {
		b := w.boxes[id]
		b.Alive, b.dead, b.again = again, !again, again
		w.events <- Event{Target: b.Target, What: HasDied, ExitCode: code}
	})
}

func (w *world) Targets(context.Context) ([]Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Target
	for _, id := range w.order {
		out = append(out, w.boxes[id].Target)
	}
	return out, nil
}

func (w *world) Alive(_ context.Context, id string) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.boxes[id].Alive, nil
}

func (w *world) Events(context.Context) (<-chan Event, <-chan error) { return w.events, w.broken }

func (w *world) Logs(ctx context.Context, id string, q Query) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.boxes[id]
	if b.mute && !q.Follow {
		return nil, fmt.Errorf("log driver none: %w", errdefs.ErrNotImplemented)
	}
	r := &boxReader{w: w, b: b, q: q, ctx: ctx}
	context.AfterFunc(ctx, func() { w.do(func() {}) })
	return r, nil
}

type boxReader struct {
	w    *world
	b    *box
	q    Query
	ctx  context.Context
	next int
	buf  bytes.Buffer
}

func (r *boxReader) Close() error { return nil }

func (r *boxReader) Read(p []byte) (int, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for r.buf.Len() == 0 {
		switch {
		case r.next < len(r.b.entries):
			e := r.b.entries[r.next]
			r.next++
			if !e.at.Before(r.q.Since) {
				text := e.text + "\n"
				if !r.b.mute {
					text = e.at.UTC().Format(stampFormat) + " " + text
				}
				r.buf.Write(frame(1, text))
			}
		case !r.q.Follow || r.b.dead || r.ctx.Err() != nil:
			return 0, io.EOF
		default:
			r.w.cond.Wait()
		}
	}
	return r.buf.Read(p)
}

// following is a Follow in another goroutine.
type following struct {
	t       *testing.T
	printer *Printer
	out     *syncBuffer
	err     chan error
	cancel  context.CancelFunc
	ready   chan struct{}
}

type syncBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Write(p)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func follow(t *testing.T, w *world, o Options) *following {
	t.Helper()
	f := &following{t: t, out: &syncBuffer{changed: make(chan struct{}, 1)}, err: make(chan error, 1), ready: make(chan struct{})}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(t.Context())
	f.printer = NewPrinter(f.out, f.out, Style{})
	o.Ready = func() { close(f.ready) }
	if o.Exited == nil {
		o.Exited = func(e Exit) {
			text := fmt.Sprintf("ended with %d", e.Code)
			if e.Again {
				text += " and starts again"
			}
			f.printer.Note(e.Name, text)
		}
	}
	go func() { f.err <- Follow(ctx, w, f.printer, o) }()
	t.Cleanup(f.cancel)
	return f
}

func (f *following) await(text string) {
	f.t.Helper()
	deadline := time.After(bound)
	for !strings.Contains(f.out.String(), text) {
		select {
		case <-f.out.changed:
		case err := <-f.err:
			f.t.Fatalf("ended with %v before it printed %q:\n%s", err, text, f.out.String())
		case <-deadline:
			f.t.Fatalf("%q is not printed:\n%s", text, f.out.String())
		}
	}
}

func (f *following) end(want string) {
	f.t.Helper()
	select {
	case err := <-f.err:
		if err != nil {
			f.t.Errorf("error %v", err)
		}
	case <-time.After(bound):
		f.t.Fatalf("it does not end:\n%s", f.out.String())
	}
	if d := cmp.Diff(want, f.out.String()); d != "" {
		f.t.Error(d)
	}
}

func TestFollowEndsWithTheLastContainer(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	w.say("web-1", "past")
	f := follow(t, w, Options{})
	f.await("web-1  | past")
	w.start("db-1") // started later
	w.say("db-1", "hello")
	f.await("db-1")
	w.say("web-1", "last words")
	w.die("web-1", 3, false)
	f.await("web-1 ended with 3")
	w.say("db-1", "bye")
	w.die("db-1", 0, false)
	f.end("web-1  | past\ndb-1   | hello\nweb-1  | last words\nweb-1 ended with 3\ndb-1   | bye\ndb-1 ended with 0\n")
}

func TestFollowPrintsNothingTwiceAfterARestart(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	w.say("web-1", "first run")
	f := follow(t, w, Options{Idle: func() bool { return false }, Recheck: make(chan struct{})})
	f.await("first run")
	w.die("web-1", 1, false)
	f.await("ended with 1")
	w.start("web-1")
	w.say("web-1", "second run")
	f.await("second run")
	f.cancel()
	<-f.err
	if d := cmp.Diff("web-1  | first run\nweb-1 ended with 1\nweb-1  | second run\n", f.out.String()); d != "" {
		t.Error(d)
	}
}

func TestFollowThroughARestartPolicy(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	f := follow(t, w, Options{})
	w.say("web-1", "one")
	f.await("one")
	w.die("web-1", 1, true)
	f.await("ended with 1 and starts again")
	w.start("web-1")
	w.say("web-1", "two")
	f.await("two")
	w.die("web-1", 0, false)
	f.end("web-1  | one\nweb-1 ended with 1 and starts again\nweb-1  | two\nweb-1 ended with 0\n")
}

func TestFollowEndsWhenARestartingContainerIsStopped(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	recheck := make(chan struct{}, 1)
	f := follow(t, w, Options{Recheck: recheck})
	<-f.ready
	w.die("web-1", 1, true)
	f.await("starts again")
	w.do(func() { w.boxes["web-1"].Alive, w.boxes["web-1"].dead = false, true }) // no event tells
	f.end("web-1 ended with 1 and starts again\n")
}

func TestFollowFromNow(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	w.say("web-1", "long ago")
	<-w.events
	f := follow(t, w, Options{Query: Query{Tail: "0"}})
	<-f.ready
	w.start("new-1")
	w.say("new-1", "from the first line on")
	f.await("from the first line on")
	w.say("web-1", "now")
	f.await("now")
	w.die("web-1", 0, false)
	w.die("new-1", 0, false)
	f.await("web-1 ended")
	f.await("new-1 ended")
	if strings.Contains(f.out.String(), "long ago") {
		t.Errorf("the past was printed:\n%s", f.out.String())
	}
}

func TestFollowWatchesWithoutShowing(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	w.start("quiet-1")
	f := follow(t, w, Options{Shown: func(t Target) bool { return t.Service != "quiet" }})
	<-f.ready
	w.say("quiet-1", "hidden")
	w.say("web-1", "shown")
	f.await("shown")
	w.die("web-1", 0, false)
	f.await("web-1 ended")
	select {
	case err := <-f.err:
		t.Fatalf("it ended with %v although quiet-1 runs", err)
	default:
	}
	w.die("quiet-1", 5, false)
	f.end("web-1  | shown\nweb-1 ended with 0\nquiet-1 ended with 5\n")
}

func TestFollowALogDriverThatKeepsNothing(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	w.do(func() { w.boxes["web-1"].mute = true })
	f := follow(t, w, Options{})
	w.say("web-1", "live")
	f.await("live")
	w.die("web-1", 0, false)
	f.end("web-1  | live\nweb-1 ended with 0\n")
}

func TestFollowTellsOfABrokenConnection(t *testing.T) {
	w := newWorld()
	w.start("web-1")
	f := follow(t, w, Options{})
	<-f.ready
	w.broken <- io.ErrUnexpectedEOF
	select {
	case err := <-f.err:
		if !errdefs.IsUnavailable(err) {
			t.Errorf("error %v", err)
		}
	case <-time.After(bound):
		t.Fatal("it does not notice")
	}
}

func TestShowMergesAndEnds(t *testing.T) {
	w := newWorld()
	w.start("a-1")
	w.start("b-1")
	w.say("b-1", "one")
	w.say("a-1", "two")
	w.say("b-1", "three")
	var out bytes.Buffer
	if err := Show(t.Context(), w, NewPrinter(&out, &out, Style{}), Query{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("b-1  | one\na-1  | two\nb-1  | three\n", out.String()); d != "" {
		t.Error(d)
	}
}
