package progress

import (
	"strings"
	"testing"
	"time"

	"gantry/api/client"
	"gantry/project"
	"gantry/scheduler"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Unix(1000, 0)

// play applies events, one every 100 ms, and returns the lines of plain output.
func play(b *Board, events ...scheduler.Event) (lines []string, end time.Time) {
	now := t0
	for _, e := range events {
		if l := b.Apply(e, now); l != "" {
			lines = append(lines, l)
		}
		now = now.Add(100 * time.Millisecond)
	}
	return lines, now
}

func ev(step int, kind, name, verb string, status scheduler.Status) scheduler.Event {
	return scheduler.Event{Step: step, Kind: kind, Name: name, Verb: verb, Status: status}
}

func layer(id, text string, current, total int64) scheduler.Event {
	return scheduler.Event{Step: 0, Kind: "image", Name: "nginx", Verb: "pull", Status: scheduler.StatusProgress,
		Progress: scheduler.Progress{ID: id, Text: text, Current: current, Total: total}}
}

func upEvents() []scheduler.Event {
	healthy := ev(3, "container", "demo-db-1", "wait", scheduler.StatusDone)
	healthy.Condition = project.Healthy
	failed := ev(5, "container", "demo-web-1", "start", scheduler.StatusFailed)
	failed.Error = "port 80 is in use\nby nginx"
	return []scheduler.Event{
		client.PlanEvent(6),
		ev(0, "network", "demo_default", "create", scheduler.StatusStarted),
		ev(0, "network", "demo_default", "create", scheduler.StatusDone),
		ev(1, "container", "demo-db-1", "create", scheduler.StatusStarted),
		ev(1, "container", "demo-db-1", "create", scheduler.StatusDone),
		ev(2, "container", "demo-db-1", "start", scheduler.StatusStarted),
		ev(2, "container", "demo-db-1", "start", scheduler.StatusDone),
		ev(3, "container", "demo-db-1", "wait", scheduler.StatusStarted),
		healthy,
		ev(4, "container", "demo-web-1", "create", scheduler.StatusDone),
		failed,
		ev(6, "container", "demo-job-1", "start", scheduler.StatusSkipped),
	}
}

func TestPlainLines(t *testing.T) {
	got, _ := play(NewBoard(Options{}), upEvents()...)
	want := []string{
		" Network demo_default  Creating",
		" Network demo_default  Created",
		" Container demo-db-1  Creating",
		" Container demo-db-1  Created",
		" Container demo-db-1  Starting",
		" Container demo-db-1  Started",
		" Container demo-db-1  Waiting",
		" Container demo-db-1  Healthy",
		" Container demo-web-1  Created",
		" Container demo-web-1  Error  port 80 is in use",
		" Container demo-job-1  Skipped",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTree(t *testing.T) {
	b := NewBoard(Options{})
	_, now := play(b, upEvents()...)
	got := b.Lines(now, View{Width: 80, Height: 24})
	want := []string{
		"[+] Running 7/6",
		" ✔ Network demo_default  Created    0.1s",
		" ✔ Container demo-db-1   Healthy    0.5s",
		" ✘ Container demo-web-1  Error      0.1s  port 80 is in use",
		" - Container demo-job-1  Skipped    0.0s",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTreeWhileWorking(t *testing.T) {
	b := NewBoard(Options{Layers: true})
	_, now := play(b,
		ev(0, "image", "nginx", "pull", scheduler.StatusStarted),
		layer("sha256:0123456789abcdef", "Downloading", 5<<20, 10<<20),
		layer("nginx", "Pulling", 0, 0), // the whole, which its own line shows
		layer("sha256:fedcba9876543210", "Extracting", 0, 99),
		ev(1, "network", "demo_default", "create", scheduler.StatusDone),
	)
	got := b.Lines(now, View{Width: 80, Height: 24})
	want := []string{
		"[+] Running 1",
		" ⠴ Image nginx           Pulling    0.5s",
		"   0123456789ab  Downloading    ██████████░░░░░░░░░░  5.243MB/10.49MB",
		"   fedcba987654  Extracting",
		" ✔ Network demo_default  Created    0.0s",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	b.Apply(ev(0, "image", "nginx", "pull", scheduler.StatusDone), now)
	if text := strings.Join(b.Lines(now, View{Width: 80}), "\n"); strings.Contains(text, "0123456789ab") {
		t.Errorf("layers of a finished pull are still shown:\n%s", text)
	}
}

func TestFailureIsNotHiddenByWhatComesLater(t *testing.T) {
	b := NewBoard(Options{})
	failed := ev(1, "container", "a", "start", scheduler.StatusFailed)
	failed.Error = "boom"
	play(b, failed, ev(2, "container", "a", "remove", scheduler.StatusDone))
	if text := strings.Join(b.Lines(t0, View{}), "\n"); !strings.Contains(text, "Error") || !strings.Contains(text, "boom") {
		t.Errorf("the failure is gone:\n%s", text)
	}
}

func TestNothingIsSaidTwiceInARow(t *testing.T) {
	got, _ := play(NewBoard(Options{}),
		ev(0, "image", "nginx", "pull", scheduler.StatusStarted), layer("nginx", "Pulled", 0, 0), ev(0, "image", "nginx", "pull", scheduler.StatusDone))
	if d := cmp.Diff([]string{" Image nginx  Pulling", " Image nginx  Pulled"}, got); d != "" {
		t.Error(d)
	}
}

func TestOptionalFailureIsAWarning(t *testing.T) {
	e := ev(1, "image", "nginx", "pull", scheduler.StatusFailed)
	e.Optional, e.Error = true, "no route"
	got, _ := play(NewBoard(Options{}), e)
	if d := cmp.Diff([]string{" Image nginx  Warning  no route"}, got); d != "" {
		t.Error(d)
	}
}

func TestSmallTerminalKeepsWhatMatters(t *testing.T) {
	b := NewBoard(Options{Layers: true})
	var events []scheduler.Event
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		events = append(events, ev(0, "container", name, "create", scheduler.StatusDone))
	}
	events = append(events, ev(1, "container", "b", "start", scheduler.StatusStarted))
	failed := ev(2, "container", "c", "start", scheduler.StatusFailed)
	_, now := play(b, append(events, failed)...)
	got := b.Lines(now, View{Width: 80, Height: 6})
	if len(got) > 5 {
		t.Errorf("%d lines on a terminal of 6, of which the cursor takes one:\n%s", len(got), strings.Join(got, "\n"))
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{"Container b", "Container c", "5 more"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if final := b.Lines(now, View{Width: 80, Height: 6, Final: true}); len(final) != 9 {
		t.Errorf("the end shows %d lines, want all 8 and the head", len(final))
	}
}

func TestNoLineIsWiderThanTheTerminal(t *testing.T) {
	b := NewBoard(Options{})
	_, now := play(b, append(upEvents(), client.WarningEvent(strings.Repeat("long ", 40)))...)
	for _, width := range []int{5, 20, 33, 40} {
		for _, l := range b.Lines(now, View{Width: width, Color: true}) {
			if n := len([]rune(stripSGR(l))); n >= width {
				t.Errorf("width %d: %d columns in %q", width, n, l)
			}
		}
	}
}

func TestNotes(t *testing.T) {
	got, _ := play(NewBoard(Options{}), client.WarningEvent("found orphans"), client.WaitingEvent("gantry up (pid 7)"))
	want := []string{"warning: found orphans", "waiting for gantry up (pid 7) to finish with this project"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCauses(t *testing.T) {
	e := ev(1, "container", "a", "create", scheduler.StatusStarted)
	e.Cause = "image changed"
	got, _ := play(NewBoard(Options{Causes: true}), e)
	if d := cmp.Diff([]string{" Container a  Creating  (image changed)"}, got); d != "" {
		t.Error(d)
	}
}
