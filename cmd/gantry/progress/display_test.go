package progress

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/api/client"
	"gantry/scheduler"

	"github.com/google/go-cmp/cmp"
)

func TestParseMode(t *testing.T) {
	for in, want := range map[string]Mode{"": Auto, "auto": Auto, "tty": TTY, "plain": Plain, "json": JSON, "quiet": Quiet} {
		if got, err := ParseMode(in); err != nil || got != want {
			t.Errorf("ParseMode(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := ParseMode("loud"); err == nil {
		t.Error("an unknown mode was accepted")
	}
}

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	d := New(Options{Mode: JSON, Out: &out})
	failed := ev(1, "container", "a", "start", scheduler.StatusFailed)
	failed.Error = "boom"
	for _, e := range []scheduler.Event{
		client.PlanEvent(2), client.WarningEvent("orphans"),
		ev(0, "image", "nginx", "pull", scheduler.StatusStarted), layer("sha256:0123456789abcdef", "Downloading", 1, 4),
		ev(0, "image", "nginx", "pull", scheduler.StatusDone), failed, ev(2, "container", "b", "start", scheduler.StatusSkipped),
	} {
		d.Event(e)
	}
	d.Close()
	want := []string{
		`{"text":"warning: orphans","status":"Warning"}`,
		`{"id":"Image nginx","text":"Pulling","status":"Working"}`,
		`{"id":"0123456789ab","parent_id":"Image nginx","text":"Downloading","status":"Working","current":1,"total":4,"percent":25}`,
		`{"id":"Image nginx","text":"Pulled","status":"Done"}`,
		`{"id":"Container a","text":"Error","details":"boom","status":"Error"}`,
		`{"id":"Container b","text":"Skipped","status":"Warning"}`,
	}
	if d := cmp.Diff(want, strings.Split(strings.TrimSpace(out.String()), "\n")); d != "" {
		t.Error(d)
	}
}

func TestQuietIsQuiet(t *testing.T) {
	var out bytes.Buffer
	d := New(Options{Mode: Quiet, Out: &out})
	d.Event(ev(0, "container", "a", "start", scheduler.StatusDone))
	d.Close()
	if out.Len() > 0 {
		t.Errorf("quiet wrote %q", out.String())
	}
}

// TestLive draws events and text of several goroutines at once on an emulated
// terminal.
func TestLive(t *testing.T) {
	term := newTerminal(60, 12)
	d := New(Options{Mode: TTY, Out: term, Layers: true, Size: term.size, Now: time.Now})
	logs := d.Above(term)
	var group sync.WaitGroup
	for i := range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			name := fmt.Sprintf("c%d", i)
			d.Event(ev(i, "container", name, "start", scheduler.StatusStarted))
			for j := range 5 {
				fmt.Fprintf(logs, "%s | line %d\n", name, j)
			}
			d.Event(ev(i, "container", name, "start", scheduler.StatusDone))
		}()
	}
	group.Wait()
	d.Close()
	d.Close() // twice is harmless
	fmt.Fprintf(logs, "after\r\n")
	text := term.text()
	for i := range 4 {
		for j := range 5 {
			if want := fmt.Sprintf("c%d | line %d\n", i, j); strings.Count(text, want) != 1 {
				t.Errorf("%q is there %d times, want once:\n%s", want, strings.Count(text, want), text)
			}
		}
		if want := fmt.Sprintf(" ✔ Container c%d  Started", i); strings.Count(text, want) != 1 {
			t.Errorf("%q is there %d times, want once:\n%s", want, strings.Count(text, want), text)
		}
	}
	if !strings.HasSuffix(text, "after\n") {
		t.Errorf("what comes after the end is not last:\n%s", text)
	}
	if term.hidden() {
		t.Error("the cursor is still hidden")
	}
}
