package jsonlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)

// bounded ends a test's waits, which is a failure.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func create(t *testing.T, path string, l Limits) *Writer {
	t.Helper()
	w, err := Create(path, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func open(t *testing.T, path string, o Options) *Reader {
	t.Helper()
	r, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func write(t *testing.T, w *Writer, stream, text string) {
	t.Helper()
	if err := w.Write(stream, t0, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// lines reads to the end.
func lines(t *testing.T, r *Reader) (out []string) {
	t.Helper()
	ctx := bounded(t)
	for {
		e, err := r.Next(ctx)
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(e.Line))
	}
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d lines %.300q\nwant %d %.300q", len(got), got, len(want), want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("line %d: got %.100q, want %.100q", i, got[i], want[i])
		}
	}
}

func numbered(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("line %d\n", i))
	}
	return out
}

// The bytes are what Docker's driver writes for the same output.
func TestFormat(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct{ name, in, want string }{
		{"line", "hi\n", `{"log":"hi\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"empty", "\n", `{"log":"\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"no newline", "hi", `{"log":"hi","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"escapes", "\t\x1b[1m\"\\\r<&>\x7f\n", `{"log":"\u0009\u001b[1m\"\\\r\u003c\u0026\u003e` + "\x7f" + `\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"unicode", "é\u2028😀\n", `{"log":"é\u2028😀\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"not UTF-8", "a\xff\xc3(\n", `{"log":"a\ufffd\ufffd(\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"as long as the driver's buffer", long[1:] + "\n", `{"log":"` + long[1:] + `\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"one byte longer", long + "\n", `{"log":"` + long + `","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n" +
			`{"log":"\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n"},
		{"two", "a\nb\n", `{"log":"a\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}` + "\n" +
			`{"log":"b\n","stream":"stdout","time":"2026-01-02T03:04:05.600000001Z"}` + "\n"},
	} {
		for _, step := range []int{1, 3, len(c.in)} { // however it arrives
			path := filepath.Join(t.TempDir(), "log")
			w := create(t, path, Limits{})
			for in := c.in; in != ""; {
				n := min(step, len(in))
				write(t, w, Stdout, in[:n])
				in = in[n:]
			}
			if !strings.HasSuffix(c.in, "\n") {
				w.streams[Stdout].cut = t0 // Close has no other clock
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); string(got) != c.want {
				t.Errorf("%s by %d:\n got %.200q\nwant %.200q", c.name, step, got, c.want)
			}
		}
	}
}

func TestEncodingIsReadByJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\t\r\"\\<é\xe2\x80\xa8ab")))).Draw(t, "text")
		nanos := rapid.Int64Range(0, 4e18).Draw(t, "time")
		at := time.Unix(0, nanos)
		var c clock
		line := bytes.TrimSuffix(appendEntry(nil, Stderr, text, nil, c.format(at), true), []byte("\n"))
		var got struct {
			Log, Stream string
			Time        time.Time
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		// json and we agree on what is not UTF-8.
		valid, _ := json.Marshal(string(text) + "\n")
		var want string
		if err := json.Unmarshal(valid, &want); err != nil {
			t.Fatal(err)
		}
		if got.Log != want || got.Stream != Stderr || !got.Time.Equal(at) {
			t.Fatalf("%q decodes to %+v", line, got)
		}
		if s := at.UTC().Format(time.RFC3339Nano); s != string(c.format(at)) {
			t.Fatalf("time %s, want %s", c.format(at), s)
		}
		var a arena
		e, ok := a.decodeOwn(line)
		if !ok || string(e.Line) != want || e.Stream != Stderr || !e.Time.Equal(at) {
			t.Fatalf("%q reads as %+v, %v", line, e, ok)
		}
	})
}

// Entries handed out stay what they were while others are read.
func TestEntriesDoNotShareMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{})
	var want []string
	for i := range 20000 {
		s := fmt.Sprintf("%d %s\n", i, strings.Repeat("é", i%50))
		want = append(want, s)
		write(t, w, Stdout, s)
	}
	r := open(t, path, Options{Tail: -1})
	var kept []Entry
	for {
		e, err := r.Next(t.Context())
		if err == io.EOF {
			break
		}
		kept = append(kept, e)
	}
	var got []string
	for i, e := range kept {
		got = append(got, string(e.Line))
		if i > 0 && !e.Time.After(kept[i-1].Time) {
			t.Fatalf("entry %d is at %v, the one before at %v", i, e.Time, kept[i-1].Time)
		}
		_ = append(e.Line, "overwrites?"...)
	}
	equal(t, got, want)
}

func TestMillionLineBurst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{MaxSize: 64 << 20, MaxFile: 3})
	const n = 1_000_000
	var chunk []byte
	began := time.Now()
	for i := range n {
		chunk = fmt.Appendf(chunk, "line %d of a burst that a busy process writes\n", i)
		if len(chunk) > 60<<10 || i == n-1 {
			if err := w.Write(Stdout, time.Now(), chunk); err != nil {
				t.Fatal(err)
			}
			chunk = chunk[:0]
		}
	}
	wrote := time.Since(began)
	began = time.Now()
	r := open(t, path, Options{Tail: -1})
	for i := range n {
		e, err := r.Next(t.Context())
		if err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		if want := fmt.Sprintf("line %d of a burst that a busy process writes\n", i); string(e.Line) != want {
			t.Fatalf("line %d is %q", i, e.Line)
		}
	}
	if _, err := r.Next(t.Context()); err != io.EOF {
		t.Fatalf("after the last line: %v", err)
	}
	t.Logf("wrote %.1f M lines/s, read %.1f M lines/s", n/1e6/wrote.Seconds(), n/1e6/time.Since(began).Seconds())
}

func TestRotation(t *testing.T) {
	for _, maxFile := range []int{1, 2, 3, 5} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		w := create(t, path, Limits{MaxSize: 1000, MaxFile: maxFile})
		all := numbered(0, 500)
		for _, l := range all {
			write(t, w, Stdout, l)
		}
		entries, _ := os.ReadDir(dir)
		if len(entries) != maxFile {
			t.Fatalf("max-file %d: %d files", maxFile, len(entries))
		}
		for _, e := range entries {
			if info, _ := e.Info(); info.Size() > 1000 {
				t.Errorf("max-file %d: %s has %d bytes", maxFile, e.Name(), info.Size())
			}
		}
		got := lines(t, open(t, path, Options{Tail: -1}))
		if len(got) < (maxFile-1)*10 {
			t.Fatalf("max-file %d: only %d lines left", maxFile, len(got))
		}
		equal(t, got, all[len(all)-len(got):])

		w.Close()
		create(t, path, Limits{MaxSize: 1000, MaxFile: 1})
		if entries, _ = os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%d files after max-file was lowered to 1", len(entries))
		}
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
		if entries, _ = os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%d files after Remove", len(entries))
		}
	}
}

func TestUnlimitedNeverRotates(t *testing.T) {
	dir := t.TempDir()
	w := create(t, filepath.Join(dir, "log"), Limits{MaxSize: -1})
	big := strings.Repeat(strings.Repeat("y", 1000)+"\n", 12<<10)
	write(t, w, Stdout, big)
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Fatalf("%d files", len(entries))
	}
}

func TestTail(t *testing.T) {
	for _, size := range []int64{-1, 2000} { // one file, and many
		path := filepath.Join(t.TempDir(), "log")
		w := create(t, path, Limits{MaxSize: size, MaxFile: 100})
		var out, errs, all []string
		for i := range 1000 {
			l := fmt.Sprintf("%d %s\n", i, strings.Repeat("z", i%200))
			stream := Stdout
			if i%10 == 3 {
				stream = Stderr
				errs = append(errs, l)
			} else {
				out = append(out, l)
			}
			all = append(all, l)
			if err := w.Write(stream, t0.Add(time.Duration(i)*time.Second), []byte(l)); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []int{0, 1, 7, 100, 999, 1000, 5000} {
			last := func(s []string) []string { return s[max(0, len(s)-n):] }
			equal(t, lines(t, open(t, path, Options{Tail: n})), last(all))
			equal(t, lines(t, open(t, path, Options{Tail: n, Stderr: true})), last(errs))
			equal(t, lines(t, open(t, path, Options{Tail: n, Stdout: true})), last(out))
			until := t0.Add(499 * time.Second)
			equal(t, lines(t, open(t, path, Options{Tail: n, Until: until})), last(all[:500]))
			equal(t, lines(t, open(t, path, Options{Tail: n, Since: t0.Add(990 * time.Second)})), last(all[990:]))
		}
		equal(t, lines(t, open(t, path, Options{Tail: -1, Since: t0.Add(200 * time.Second), Until: t0.Add(299 * time.Second)})), all[200:300])
	}
}

func TestTornLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{})
	write(t, w, Stdout, "one\ntwo\n")
	w.Close()
	torn := `{"log":"half a li`
	f, _ := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	f.WriteString(torn)
	f.Close()
	equal(t, lines(t, open(t, path, Options{Tail: -1})), []string{"one\n", "two\n"})
	equal(t, lines(t, open(t, path, Options{Tail: 1})), []string{"two\n"})

	follower := open(t, path, Options{Tail: 0, Follow: true})
	w = create(t, path, Limits{})
	write(t, w, Stdout, "three\n")
	follower.Finish()
	equal(t, lines(t, follower), []string{"three\n"})
	equal(t, lines(t, open(t, path, Options{Tail: -1})), []string{"one\n", "two\n", "three\n"})
	equal(t, lines(t, open(t, path, Options{Tail: 2})), []string{"two\n", "three\n"})
}

// A disk that is full for a while costs the lines of that time alone.
func TestFailedWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{})
	write(t, w, Stdout, "one\n")
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := w.file
	w.file = full
	if err := w.Write(Stdout, t0, []byte("lost\n")); err == nil {
		t.Fatal("no error from a full disk")
	}
	full.Close()
	w.file = good
	write(t, w, Stdout, "two\n")
	equal(t, lines(t, open(t, path, Options{Tail: -1})), []string{"one\n", "two\n"})
}

func TestMissingLogIsEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	equal(t, lines(t, open(t, path, Options{Tail: -1})), nil)
	if _, err := Open(filepath.Join(path, "no", "log"), Options{Follow: true}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("following in a missing directory: %v", err)
	}
	if _, err := Create(path, Limits{MaxFile: -1}); err == nil {
		t.Fatal("a negative max-file was accepted")
	}
}

// Docker's own files, with attributes, and other JSON are read too.
func TestForeignLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	text := `{"log":"a\tb\ud83d\ude00\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-01-02T03:04:05.6+01:00"}
not json
{"log":"no stream","time":"2026-01-02T03:04:05.6Z"}
{"log":"no time","stream":"stdout"}
[]
` + strings.Repeat("g", maxEntry*3) + `
{"stream":"stdout","time":"2026-01-02T03:04:05.6Z"}
{"log":"end\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	equal(t, lines(t, open(t, path, Options{Tail: -1})), []string{"a\tb😀\n", "", "end\n"})
	equal(t, lines(t, open(t, path, Options{Tail: 3})), []string{"a\tb😀\n", "", "end\n"})
}
