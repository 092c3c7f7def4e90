package jsonlog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzReader reads files that nobody wrote whole: garbage, half lines, lines
// without end. It returns what is an entry, in order, and ends; from the end it
// finds the same.
func FuzzReader(f *testing.F) {
	const entry = `{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"
	f.Add([]byte(entry), []byte(entry+entry[:20]))
	f.Add([]byte(entry[3:]+entry), []byte("\n\n\x00{}\n"+entry))
	f.Add([]byte(`{"log":"\ud800","stream":"stderr","time":"2026-01-02T03:04:05Z"}`+"\n"), []byte(strings.Replace(entry, `"time"`, `"attrs":{"a":"b"},"time"`, 1)))
	f.Add([]byte(`{"log":"x","stream":"stdout","attrs":7,"time":"2026-01-02T03:04:05Z"}`+"\n"), []byte("xxxxxxxx\n"+entry))
	f.Fuzz(func(t *testing.T, older, newer []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := errors.Join(os.WriteFile(path+".1", older, 0o600), os.WriteFile(path, newer, 0o600)); err != nil {
			t.Fatal(err)
		}
		var want []Entry
		for _, file := range [][]byte{older, newer} {
			lines := bytes.Split(file, []byte("\n"))
			for _, line := range lines[:len(lines)-1] { // what has no newline is no line
				var a arena
				if e, ok := a.decode(line); ok && len(line) <= maxEntry {
					want = append(want, e)
				}
			}
		}
		same(t, "all", read(t, path, -1), want)
		for _, n := range []int{0, 1, 2} {
			same(t, "the last", read(t, path, n), want[max(0, len(want)-n):])
		}
	})
}

// A line of any length is passed over, and what follows is found.
func TestReaderPassesOverHugeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const entry = `{"log":"after\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\n"
	for _, size := range []int{maxEntry - 1, maxEntry + 1, 5 * maxEntry} {
		if err := os.WriteFile(path, []byte(entry+`{"log":"`+strings.Repeat("x", size)+"\n"+entry), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, tail := range []int{-1, 2} {
			if got := read(t, path, tail); len(got) != 2 {
				t.Errorf("a line of %d bytes, tail %d: %d entries", size, tail, len(got))
			}
		}
	}
}

func read(t *testing.T, path string, tail int) []Entry {
	t.Helper()
	r, err := Open(path, Options{Tail: tail})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []Entry
	for {
		e, err := r.Next(t.Context())
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
}

func same(t *testing.T, what string, got, want []Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d entries, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i].Stream != want[i].Stream || !got[i].Time.Equal(want[i].Time) || !bytes.Equal(got[i].Line, want[i].Line) || len(got[i].Attrs) != len(want[i].Attrs) {
			t.Fatalf("%s: entry %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
}
