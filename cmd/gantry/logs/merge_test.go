package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type listed struct {
	lines []Line
	err   error
}

func (s *listed) Next() (Line, error) {
	if len(s.lines) == 0 {
		if s.err != nil {
			return Line{}, s.err
		}
		return Line{}, io.EOF
	}
	l := s.lines[0]
	s.lines = s.lines[1:]
	return l, nil
}

// TestMergeOrder: all lines come out, in the order of time, and those of one
// container as they were written.
func TestMergeOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sources []Source
		total := 0
		for i := range rapid.IntRange(0, 5).Draw(t, "containers") {
			var lines []Line
			at := 0
			for j := range rapid.IntRange(0, 10).Draw(t, "lines") {
				at += rapid.IntRange(0, 3).Draw(t, "pause")
				lines = append(lines, Line{Name: fmt.Sprint(i), Time: time.UnixMilli(int64(at)), Text: []byte(fmt.Sprint(j))})
			}
			total += len(lines)
			sources = append(sources, &listed{lines: lines})
		}
		var got []Line
		if err := Merge(sources, func(l Line) { got = append(got, l) }); err != nil {
			t.Fatal(err)
		}
		if len(got) != total {
			t.Fatalf("%d of %d lines", len(got), total)
		}
		if !slices.IsSortedFunc(got, func(a, b Line) int { return a.Time.Compare(b.Time) }) {
			t.Fatal("not in the order of time")
		}
		next := map[string]int{}
		for _, l := range got {
			if string(l.Text) != fmt.Sprint(next[l.Name]) {
				t.Fatalf("container %s: line %s out of turn", l.Name, l.Text)
			}
			next[l.Name]++
		}
	})
}

func TestMergeGoesOnWithoutAFailedSource(t *testing.T) {
	line := func(name string, at int64) Line { return Line{Name: name, Time: time.UnixMilli(at)} }
	broken := errors.New("broken")
	var got []string
	err := Merge([]Source{
		&listed{lines: []Line{line("a", 1)}, err: broken},
		&listed{lines: []Line{line("b", 2), line("b", 3)}},
	}, func(l Line) { got = append(got, l.Name) })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff([]string{"a", "b", "b"}, got); d != "" {
		t.Error(d)
	}
}

func TestPrinter(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	for _, test := range []struct {
		name        string
		style       Style
		out, errors string
	}{
		{"plain", Style{}, "web-1    | hello\nweb-1 exited with code 1\n", "db-long  | oops\n"},
		{"no prefix", Style{NoPrefix: true}, "hello\nweb-1 exited with code 1\n", "oops\n"},
		{"timestamps", Style{Timestamps: true}, "web-1    | 2026-01-02T03:04:05.000006000Z hello\nweb-1 exited with code 1\n", "db-long  | 2026-01-02T03:04:05.000006000Z oops\n"},
		{"colour", Style{Color: true}, "\x1b[36mweb-1    | \x1b[0mhello\n\x1b[36mweb-1 exited with code 1\x1b[0m\n", "\x1b[33mdb-long  | \x1b[0moops\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errors bytes.Buffer
			p := NewPrinter(&out, &errors, test.style)
			p.Announce("web-1")
			p.Announce("db-long")
			p.Print(Line{Name: "web-1", Time: at, Text: []byte("hello")})
			p.Print(Line{Name: "db-long", Time: at, Stderr: true, Text: []byte("oops")})
			p.Note("web-1", "exited with code 1")
			if d := cmp.Diff(test.out, out.String()); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(test.errors, errors.String()); d != "" {
				t.Error(d)
			}
		})
	}
}
