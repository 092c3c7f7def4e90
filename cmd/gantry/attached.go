package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"gantry/api/client"
	"gantry/cmd/gantry/logs"
	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/terminal"
	"gantry/scheduler"
)

// attached is an up that shows what its services write.
//
//	starting ──► following ──► ended (all containers have ended)
//	   │             │ Ctrl-C, or a container ended with --abort-on-…
//	   └──────► stopping ──► ended
//	                 │ Ctrl-C
//	              killing ──► ended
type attached struct {
	c        *cli
	t        target
	services []string
	o        *upOptions
	stage    *stage
	printer  *logs.Printer
	backend  *projectLogs
	steady   atomic.Bool // nothing is replaced any more
	settled  atomic.Bool // nothing is started any more: the end of all is the end
	recheck  chan struct{}
	abort    chan struct{} // a container ended, and that ends all
	watcher  *watcher      // of --watch, else nil
	busy     atomic.Int32  // what a change of files leads to is being done
	announce func()        // tells once what output is shown

	mu   sync.Mutex
	code int // what to end with
	over bool
	due  map[string]int  // starts by service that the daemon told of, and that are not seen yet
	gone map[string]int  // ends by container's short name that up or a change of files has brought about, and that are not seen yet
	seen map[string]bool // IDs of containers whose start was seen
	want []string        // IDs of containers whose start must have been
}

func runAttached(ctx context.Context, c *cli, t target, services []string, o *upOptions) error {
	api, err := c.engine()
	if err != nil {
		return err
	}
	watched := services
	if len(watched) == 0 {
		watched = t.definition.ServiceNames()
	}
	if o.attachDependencies {
		if watched, err = t.definition.Closure(watched...); err != nil {
			return err
		}
	}
	watched = slices.Compact(slices.Sorted(slices.Values(slices.Concat(watched, o.attach, listOf(o.exitCodeFrom)))))
	a := &attached{
		c: c, t: t, services: services, o: o,
		stage: &stage{c: c}, backend: &projectLogs{api: api, name: t.name, services: watched},
		recheck: make(chan struct{}, 1), abort: make(chan struct{}, 1), due: map[string]int{}, gone: map[string]int{}, seen: map[string]bool{},
	}
	out := a.stage.writer(c.out)
	a.announce = sync.OnceFunc(func() {
		attached := slices.DeleteFunc(slices.Clone(watched), func(service string) bool { return !a.shown(logs.Target{Service: service}) })
		if names := t.expected(attached, o.Scale); len(names) > 0 {
			fmt.Fprintf(out, "Attaching to %s\n", strings.Join(names, ", "))
		}
	})
	a.printer = logs.NewPrinter(announced{out, a}, announced{a.stage.writer(c.err), a}, logs.Style{
		NoPrefix: o.noLogPrefix, Color: !o.noColor && c.color(c.out), Timestamps: o.timestamps,
	})
	for _, name := range t.expected(watched, o.Scale) {
		a.printer.Announce(name)
	}
	defer a.stage.close()
	if o.watch {
		if err := a.watch(services); err != nil {
			return err
		}
		defer a.watcher.close()
	}
	return a.run(ctx)
}

// watch begins to note changes of files; they are acted on when all is up.
func (a *attached) watch(services []string) (err error) {
	if a.watcher, err = newWatcher(a.c, a.t, services); err != nil {
		return err
	}
	a.t = a.t.building(a.watcher.rules)
	a.watcher.prune, a.watcher.out = true, a.stage.writer(a.c.err)
	a.watcher.show = func() progress.Display {
		return counting{progress.New(progress.Options{Mode: progress.Quiet, Out: io.Discard}), a}
	}
	a.watcher.doing = func() func() {
		a.busy.Add(1)
		return func() { a.busy.Add(-1); a.settle() }
	}
	return nil
}

// expected are the names, as logs show them, that services will have.
func (t target) expected(services []string, scale map[string]int) []string {
	var names []string
	for _, name := range services {
		s, ok := t.definition.Service(name)
		if !ok {
			continue
		}
		n, scaled := scale[name]
		if !scaled {
			n = s.Replicas
		}
		for number := 1; number <= n; number++ {
			if s.ContainerName != "" {
				names = append(names, shortName(s.ContainerName, t.name))
			} else {
				names = append(names, fmt.Sprintf("%s-%d", name, number))
			}
		}
	}
	return names
}

func (a *attached) run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	following, stopFollowing := context.WithCancel(ctx)
	defer stopFollowing()
	ready := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- logs.Follow(following, a.backend, a.printer, a.options(ready)) }()
	select {
	case <-ready:
	case err := <-followed:
		return err
	}

	starting, stopStarting := context.WithCancelCause(ctx)
	defer stopStarting(nil)
	started, stopped := make(chan error, 1), make(chan error, 2)
	go func() {
		d := counting{&telling{Display: a.stage.open(!a.o.quietPull), quietBuild: a.o.quietBuild}, a}
		started <- doBuilding(starting, a.c, a.t, client.VerbUp, a.services, d, a.o.with)
	}()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	watched := make(chan error, 1)
	stopping := 0 // how often it was asked for
	stop := func(reason string) {
		stopping++
		a.steady.Store(true)
		stopStarting(errInterrupted)
		stopWatching()
		a.stage.close()
		fmt.Fprintln(a.c.err, reason)
		kill := stopping > 1
		go func() { stopped <- a.stop(ctx, kill) }()
	}
	for {
		select {
		case err := <-watched:
			if stopping == 0 {
				return err
			}
		case err := <-started:
			started = nil
			if stopping > 0 {
				continue // what it has left is being stopped
			}
			a.stage.close()
			if err != nil {
				return err
			}
			a.announce()
			a.steady.Store(true)
			if a.watcher != nil {
				go func() { watched <- a.watcher.run(watching) }()
			}
			a.settle()
		case err := <-followed:
			return a.result(err)
		case err := <-stopped:
			if err == nil {
				err = a.expectRan(ctx)
			}
			if err != nil {
				return err
			}
			a.settle()
		case <-a.abort:
			if stopping == 0 {
				stop("Aborting on container exit...")
			}
		case <-signals:
			a.end(exitInterrupted, false)
			a.stage.close()
			if terminal.Is(a.c.err) {
				fmt.Fprintln(a.c.err) // after the ^C
			}
			switch stopping {
			case 0:
				stop("Gracefully Stopping... press Ctrl+C again to force")
			case 1:
				stop("Killing...")
			default:
				return &exitError{code: exitInterrupted}
			}
		}
	}
}

func (a *attached) options(ready chan struct{}) logs.Options {
	return logs.Options{
		Query:   logs.Query{Tail: "0"},
		Shown:   a.shown,
		Exited:  a.exited,
		Started: a.saw,
		Idle:    a.idle,
		Recheck: a.recheck,
		Ready:   func() { close(ready) },
	}
}

func (a *attached) settle() {
	a.settled.Store(true)
	select {
	case a.recheck <- struct{}{}:
	default:
	}
}

// shown says whose output is wanted.
func (a *attached) shown(t logs.Target) bool {
	if slices.Contains(a.o.noAttach, t.Service) {
		return false
	}
	if s, ok := a.t.definition.Service(t.Service); ok && s.Quiet && len(a.o.attach) == 0 {
		return false
	}
	return len(a.o.attach) == 0 || slices.Contains(a.o.attach, t.Service)
}

// exited tells of a container's end, and decides whether it is everybody's.
func (a *attached) exited(e logs.Exit) {
	if a.replaced(e.Target) {
		return
	}
	text := fmt.Sprintf("exited with code %d", e.Code)
	if e.Again {
		text += " (restarting)"
	}
	if a.shown(e.Target) {
		a.printer.Note(e.Name, text)
	}
	if e.Again {
		return
	}
	switch {
	case a.o.exitCodeFrom != "" && e.Service == a.o.exitCodeFrom:
		a.end(e.Code, true)
	case a.o.exitCodeFrom != "" && a.o.abortOnContainerExit:
		a.end(0, false) // its code is still to come
	case a.o.abortOnContainerExit, a.o.abortOnContainerFailure && e.Code != 0:
		a.end(e.Code, false)
	default:
		return
	}
	select {
	case a.abort <- struct{}{}:
	default:
	}
}

// end sets what to end with: the first reason counts, unless a later one is
// final.
func (a *attached) end(code int, final bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if final && a.code != exitInterrupted || !a.over {
		a.code, a.over = code, true
	}
}

func (a *attached) result(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	case a.code != 0:
		return &exitError{code: a.code}
	}
	return nil
}

// stop ends the services that were asked for. Killing does not wait for the
// project, which a stop that takes its time still holds.
func (a *attached) stop(ctx context.Context, kill bool) error {
	if kill {
		return a.backend.kill(ctx)
	}
	d := a.stage.open(false)
	defer a.stage.close()
	return do(ctx, a.c, a.t, client.VerbStop, a.services, client.StopOptions{Timeout: a.o.Timeout}, d)
}

// announced is a writer before whose first line it is told what output is shown.
type announced struct {
	io.Writer
	a *attached
}

func (w announced) Write(b []byte) (int, error) {
	w.a.announce()
	return w.Writer.Write(b)
}

// counting notes what the daemon tells of containers: one that ended at once is
// only through when its own start was seen among the events, and one that was
// replaced has not ended by itself.
type counting struct {
	progress.Display
	a *attached
}

func (d counting) Event(e scheduler.Event) {
	if e.Kind == "container" && slices.Contains(d.a.backend.services, e.Service) {
		switch {
		case e.Verb == "start" && e.Status == scheduler.StatusDone:
			d.a.count(d.a.due, e.Service, 1)
		case (e.Verb == "stop" || e.Verb == "kill" || e.Verb == "restart") && e.Status == scheduler.StatusStarted:
			d.a.count(d.a.gone, shortName(e.Name, d.a.t.name), 1)
		case e.Verb == "restart" && e.Status == scheduler.StatusDone:
			d.a.count(d.a.due, e.Service, 1)
		}
	}
	d.Display.Event(e)
}

func (a *attached) count(of map[string]int, name string, by int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	of[name] += by
}

// replaced says that an end is up's own doing, or that of a change of files: that
// of a container which was there before and has not been seen to start since. Its
// event may come before up's, or after up is done.
func (a *attached) replaced(t logs.Target) bool {
	name, before := a.backend.before(t.ID)
	if name = shortName(name, a.t.name); !before {
		if name = t.Name; a.watcher == nil {
			return false
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if (!before || a.steady.Load() || a.seen[t.ID]) && a.gone[name] <= 0 {
		return false
	}
	a.gone[name]--
	return true
}

func (a *attached) saw(t logs.Target) {
	a.count(a.due, t.Service, -1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[t.ID] = true
}

// expectRan makes the end wait for the starts of all containers that ran: an
// up that was broken off has not told of them all.
func (a *attached) expectRan(ctx context.Context) error {
	ran, err := a.backend.ran(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want = ran
	return nil
}

// idle says that nothing more can come when nothing is alive.
func (a *attached) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.due {
		if n > 0 {
			return false
		}
	}
	for _, id := range a.want {
		if !a.seen[id] {
			return false
		}
	}
	return a.settled.Load() && a.busy.Load() == 0
}
