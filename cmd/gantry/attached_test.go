package main

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gantry/api/client"
	"gantry/scheduler"
)

// upAttached runs gantry up against a daemon and returns what it printed.
func upAttached(t *testing.T, d *fakeDaemon, args ...string) (code int, out, errs string) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, dir+"/compose.yaml", "name: demo\nservices: {web: {image: x, depends_on: {db: {condition: service_started, required: false}}}, db: {image: y}}")
	c, stdout, stderr := newTestCLI(t)
	ended := make(chan int, 1)
	go func() {
		ended <- execute(t.Context(), c, append([]string{"-H", d.host, "--project-directory", dir, "up"}, args...))
	}()
	select {
	case code = <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("gantry up does not end")
	}
	return code, stdout.String(), stderr.String()
}

func (d *fakeDaemon) called(want ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.calls, want) {
		d.t.Errorf("the daemon was asked for %q, want %q", d.calls, want)
	}
}

func startBoth(d *fakeDaemon) func(func(scheduler.Event)) error {
	return func(emit func(scheduler.Event)) error {
		for _, service := range []string{"db", "web"} {
			d.start(service)
			emit(started(service))
		}
		return nil
	}
}

func TestUpEndsWhenAllHaveEnded(t *testing.T) {
	d := newFakeDaemon(t)
	d.up = func(emit func(scheduler.Event)) error {
		d.start("db")
		d.say("db", "one line")
		d.die("db", 3) // before up is done, and before its start was told of
		emit(started("db"))
		return nil
	}
	code, out, errs := upAttached(t, d)
	if code != 0 || out != "Attaching to db-1, web-1\ndb-1   | one line\ndb-1 exited with code 3\n" {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errs)
	}
	d.called("up")
}

func TestUpFails(t *testing.T) {
	d := newFakeDaemon(t)
	d.up = func(emit func(scheduler.Event)) error {
		emit(scheduler.Event{Kind: "image", Name: "x", Verb: "pull", Status: scheduler.StatusFailed, Error: "no route"})
		return errors.New("pull image x: no route")
	}
	code, _, errs := upAttached(t, d)
	if code != exitPull || !strings.HasSuffix(errs, "gantry: pull image x: no route\n") {
		t.Errorf("exit code %d, errors %q", code, errs)
	}
}

func TestUpAbortsOnExit(t *testing.T) {
	for _, test := range []struct {
		flags []string
		code  int
	}{
		{[]string{"--abort-on-container-exit"}, 4},
		{[]string{"--abort-on-container-failure"}, 4},
		{[]string{"--exit-code-from", "web"}, 9},
		{[]string{"--exit-code-from", "db"}, 4},
	} {
		d := newFakeDaemon(t)
		d.up = func(emit func(scheduler.Event)) error {
			err := startBoth(d)(emit)
			d.say("db", "dying")
			d.die("db", 4)
			return err
		}
		d.stop = func(func(scheduler.Event)) error { d.die("web", 9); return nil }
		code, out, errs := upAttached(t, d, test.flags...)
		if code != test.code {
			t.Errorf("%v: exit code %d, want %d (%s)", test.flags, code, test.code, errs)
		}
		if out != "Attaching to db-1, web-1\ndb-1   | dying\ndb-1 exited with code 4\nweb-1 exited with code 9\n" || !strings.Contains(errs, "Aborting on container exit...") {
			t.Errorf("%v: output %q, errors %q", test.flags, out, errs)
		}
		d.called("up", "stop")
	}
}

// A container that was there before, and that up has only started again, ends by
// itself also before up is through.
func TestUpAbortsOnExitOfAnOldContainer(t *testing.T) {
	d := newFakeDaemon(t)
	d.start("db")
	d.die("db", 0)
	d.up = func(emit func(scheduler.Event)) error {
		d.start("db")
		emit(started("db"))
		d.die("db", 4)
		late := time.AfterFunc(10*time.Second, func() { d.do(func() { d.calls = append(d.calls, "too late") }) })
		defer late.Stop()
		d.mu.Lock()
		defer d.mu.Unlock()
		for len(d.calls) < 2 {
			d.cond.Wait()
		}
		return nil
	}
	d.stop = func(func(scheduler.Event)) error { return nil }
	code, out, errs := upAttached(t, d, "--exit-code-from", "db")
	if code != 4 || out != "Attaching to db-1, web-1\ndb-1 exited with code 4\n" {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errs)
	}
	d.called("up", "stop")
}

func TestUpInterrupted(t *testing.T) {
	d := newFakeDaemon(t)
	d.up = func(emit func(scheduler.Event)) error {
		err := startBoth(d)(emit)
		syscall.Kill(syscall.Getpid(), syscall.SIGINT)
		return err
	}
	d.stop = func(emit func(scheduler.Event)) error {
		emit(client.WaitingEvent(holder(client.VerbUp))) // what was called off still ends
		emit(client.WaitingEvent("gantry down (pid 1)"))
		d.say("web", "bye")
		d.die("web", 0)
		d.die("db", 0)
		return nil
	}
	code, out, errs := upAttached(t, d)
	if code != exitInterrupted || !strings.Contains(errs, "Gracefully Stopping... press Ctrl+C again to force") {
		t.Errorf("exit code %d, errors %q", code, errs)
	}
	if strings.Contains(errs, "waiting for gantry up") || !strings.Contains(errs, "waiting for gantry down") {
		t.Errorf("it tells of waiting for itself: %q", errs)
	}
	if words, end := strings.Index(out, "web-1  | bye\n"), strings.Index(out, "web-1 exited with code 0\n"); words < 0 || end < words {
		t.Errorf("the last words are lost: %q", out)
	}
	d.called("up", "stop")
}

func TestUpInterruptedTwiceKills(t *testing.T) {
	d := newFakeDaemon(t)
	d.up = func(emit func(scheduler.Event)) error {
		err := startBoth(d)(emit)
		syscall.Kill(syscall.Getpid(), syscall.SIGINT)
		return err
	}
	d.stop = func(func(scheduler.Event)) error {
		syscall.Kill(syscall.Getpid(), syscall.SIGINT)
		d.mu.Lock()
		defer d.mu.Unlock()
		for d.boxes["web"].running || d.boxes["db"].running { // a stop that takes its time
			d.cond.Wait()
		}
		return nil
	}
	if code, _, errs := upAttached(t, d); code != exitInterrupted || !strings.Contains(errs, "Killing...") {
		t.Errorf("exit code %d, errors %q", code, errs)
	}
	d.mu.Lock()
	slices.Sort(d.calls[2:])
	d.mu.Unlock()
	d.called("up", "stop", "kill db", "kill web")
}

func TestUpShowsWhatWasAskedFor(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--no-attach", "db"}, "Attaching to web-1\nweb-1  | from web\nweb-1 exited with code 0\n"},
		{[]string{"--attach", "web"}, "Attaching to web-1\nweb-1  | from web\nweb-1 exited with code 0\n"},
		{[]string{"--no-log-prefix", "--no-attach", "db"}, "Attaching to web-1\nfrom web\nweb-1 exited with code 0\n"},
	} {
		d := newFakeDaemon(t)
		d.up = func(emit func(scheduler.Event)) error {
			err := startBoth(d)(emit)
			d.say("db", "from db")
			d.say("web", "from web")
			d.die("db", 0)
			d.die("web", 0)
			return err
		}
		if code, out, errs := upAttached(t, d, test.flags...); code != 0 || out != test.want {
			t.Errorf("%v: exit code %d, output %q, errors %q", test.flags, code, out, errs)
		}
	}
}

func TestReplacingIsNoExit(t *testing.T) {
	d := newFakeDaemon(t)
	d.start("old")
	d.do(func() { d.boxes["old"].service, d.boxes["old"].name = "web", "demo-web-1" })
	d.up = func(emit func(scheduler.Event)) error {
		d.start("web")
		emit(started("web"))
		stop := started("web")
		stop.Verb, stop.Status = "stop", scheduler.StatusStarted
		emit(stop)
		d.die("old", 137)
		d.say("web", "new")
		return nil
	}
	go func() {
		d.mu.Lock()
		for d.boxes["web"] == nil || len(d.boxes["web"].out) == 0 {
			d.cond.Wait()
		}
		d.mu.Unlock()
		d.die("web", 0)
	}()
	code, out, errs := upAttached(t, d)
	if code != 0 || out != "Attaching to db-1, web-1\nweb-1  | new\nweb-1 exited with code 0\n" {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errs)
	}
}
