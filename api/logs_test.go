package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gantry/engine"

	"github.com/moby/moby/api/pkg/stdcopy"
	moby "github.com/moby/moby/client"
)

// logbook plays the logs of one container.
type logbook struct {
	record *record
	tty    bool
	asked  chan engine.LogOptions
}

func newLogbook(entries ...engine.LogEntry) logbook {
	l := logbook{record: &record{entries: make(chan engine.LogEntry, len(entries)), closed: make(chan struct{})}, asked: make(chan engine.LogOptions, 1)}
	for _, e := range entries {
		l.record.entries <- e
	}
	return l
}

func (l logbook) ContainerLogs(ctx context.Context, _ string, o engine.LogOptions) (engine.LogReader, bool, error) {
	l.asked <- o
	l.record.ctx = ctx
	return l.record, l.tty, nil
}

func serveLogs(t *testing.T, l logbook) *moby.Client {
	b := refusing()
	b.logs = l
	return serveBackends(t, b).client(t)
}

var someday = time.Date(2026, 2, 3, 4, 5, 6, 70, time.UTC)

func TestLogsAreFramed(t *testing.T) {
	l := newLogbook(
		engine.LogEntry{Stream: "stdout", Time: someday, Line: []byte("one\n")},
		engine.LogEntry{Stream: "stderr", Time: someday, Line: []byte("two\n")},
		engine.LogEntry{Stream: "stdout", Time: someday, Line: []byte("three")})
	close(l.record.entries)
	got, err := serveLogs(t, l).ContainerLogs(testContext(t), "x", moby.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: "7", Since: "12.5"})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, got); err != nil {
		t.Fatal(err)
	}
	stamp := "2026-02-03T04:05:06.000000070Z "
	if out.String() != stamp+"one\n"+stamp+"three" || errs.String() != stamp+"two\n" {
		t.Errorf("got %q and %q", out.String(), errs.String())
	}
	if o := <-l.asked; o.Tail != 7 || !o.Since.Equal(time.Unix(12, 5e8)) || !o.Until.IsZero() || !o.Stdout || !o.Stderr || o.Follow {
		t.Errorf("asked for %+v", o)
	}
}

func TestLogsOfATerminalAreRaw(t *testing.T) {
	l := newLogbook(engine.LogEntry{Stream: "stdout", Line: []byte("one\n")})
	l.tty = true
	close(l.record.entries)
	got, err := serveLogs(t, l).ContainerLogs(testContext(t), "x", moby.ContainerLogsOptions{ShowStdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if b, err := io.ReadAll(got); err != nil || string(b) != "one\n" {
		t.Errorf("got %q, %v", b, err)
	}
	if o := <-l.asked; o.Tail != -1 || o.Stderr {
		t.Errorf("asked for %+v", o)
	}
}

// A line is there as soon as it was written, not when the next one is.
func TestFollowedLinesAreNotHeldBack(t *testing.T) {
	l := newLogbook()
	l.tty = true
	got, err := serveLogs(t, l).ContainerLogs(testContext(t), "x", moby.ContainerLogsOptions{ShowStdout: true, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		want := fmt.Sprintf("line %d\n", i)
		l.record.entries <- engine.LogEntry{Stream: "stdout", Line: []byte(want)}
		line := make([]byte, len(want))
		if _, err := io.ReadFull(got, line); err != nil || string(line) != want {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	got.Close()
	await(t, l.record.closed, "the log of a client that left is closed")
}

func TestManyLinesArriveWhole(t *testing.T) {
	const n = 50_000
	l := newLogbook()
	go func() {
		defer close(l.record.entries)
		for i := range n {
			l.record.entries <- engine.LogEntry{Stream: "stdout", Line: fmt.Appendf(nil, "%d\n", i)}
		}
	}()
	got, err := serveLogs(t, l).ContainerLogs(testContext(t), "x", moby.ContainerLogsOptions{ShowStdout: true, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, got); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != n || lines[0] != "0" || lines[n-1] != fmt.Sprint(n-1) {
		t.Errorf("got %d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
}

func TestLogsNeedAStream(t *testing.T) {
	if _, err := serveLogs(t, newLogbook()).ContainerLogs(testContext(t), "x", moby.ContainerLogsOptions{}); err == nil {
		t.Error("no stream is accepted")
	}
}

func TestTailOfLogs(t *testing.T) {
	for tail, want := range map[string]int{"": -1, "all": -1, "many": -1, "-5": -1, "0": 0, "7": 7} {
		got, err := logOptions(httptest.NewRequest("GET", "/?stdout=1&tail="+tail, nil))
		if err != nil || got.Tail != want {
			t.Errorf("tail %q: %d, %v", tail, got.Tail, err)
		}
	}
}
