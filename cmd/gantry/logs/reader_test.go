package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func frame(stream byte, text string) []byte {
	out := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(out[4:], uint32(len(text)))
	return append(out, text...)
}

// entry is a line with its timestamp, n milliseconds after the epoch.
func entry(n int, text string) string {
	return time.UnixMilli(int64(n)).UTC().Format(stampFormat) + " " + text
}

func readAll(t *testing.T, body io.Reader) (got []string, err error) {
	t.Helper()
	r := NewReader("web-1", io.NopCloser(body))
	for {
		l, err := r.Next()
		if err != nil {
			return got, err
		}
		prefix := "out"
		if l.Stderr {
			prefix = "err"
		}
		at := "-"
		if !l.Time.IsZero() {
			at = time.Duration(l.Time.UnixMilli() * int64(time.Millisecond)).String()
		}
		got = append(got, prefix+" "+at+" "+string(l.Text))
	}
}

func TestReader(t *testing.T) {
	frames := bytes.Join([][]byte{
		frame(1, entry(1, "one\n")),
		frame(2, entry(2, "oops\n")),
		frame(1, entry(3, "a piece, ")),
		frame(2, entry(4, "in between\n")),
		frame(1, entry(5, "and its end\n")),
		frame(1, entry(6, "no newline")),
	}, nil)
	for _, test := range []struct {
		name string
		body []byte
		want []string
	}{
		{"empty", nil, nil},
		{"frames", frames, []string{"out 1ms one", "err 2ms oops", "err 4ms in between", "out 3ms a piece, and its end", "out 6ms no newline"}},
		{"raw", []byte(entry(1, "$ ls\r\n") + entry(2, "bin\r\n") + entry(3, "$ ")), []string{"out 1ms $ ls", "out 2ms bin", "out 3ms $ "}},
		{"live output without timestamps", append(frame(1, "one\ntwo\nthr"), frame(1, "ee\n")...), []string{"out - one", "out - two", "out - three"}},
		{"empty line", frame(1, entry(1, "\n")), []string{"out 1ms "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readAll(t, bytes.NewReader(test.body))
			if !errors.Is(err, io.EOF) {
				t.Errorf("error %v, want the end", err)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReaderOfBrokenStreams(t *testing.T) {
	whole := frame(1, entry(1, "one\n"))
	for name, body := range map[string][]byte{
		"cut in a frame":    append(bytes.Clone(whole), whole[:12]...),
		"cut in a header":   append(bytes.Clone(whole), whole[:4]...),
		"no frame at all":   append(bytes.Clone(whole), "HTTP/1.1 500 Internal Server Error"...),
		"absurd frame size": append(bytes.Clone(whole), 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
	} {
		got, err := readAll(t, bytes.NewReader(body))
		if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: error %v", name, err)
		}
		if d := cmp.Diff([]string{"out 1ms one"}, got); d != "" {
			t.Errorf("%s: what came before is lost: %s", name, d)
		}
	}
}

func TestReaderBoundsALine(t *testing.T) {
	var body []byte
	for range 5 {
		body = append(body, frame(1, entry(1, strings.Repeat("x", maxLine/2)))...)
	}
	got, err := readAll(t, bytes.NewReader(body))
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Errorf("%d lines, want 2 whole ones and a half", len(got))
	}
}
