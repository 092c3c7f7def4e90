package api

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Work goes on while its client reads nothing; what matters arrives all the
// same once it reads, and the rest may be dropped.
func TestOutboxNeverWaitsForItsClient(t *testing.T) {
	const n = 20_000
	wrote := make(chan struct{})
	pad := strings.Repeat("x", 1000) // far more than sockets hold
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := newOutbox(w, "application/x-ndjson")
		for i := range n {
			out.put(fmt.Sprintf("line %d %s", i, pad))
			out.hint(fmt.Sprintf("hint %d %s", i, pad))
		}
		close(wrote)
		out.close()
	})
	s := serveHandler(t, h)
	conn := s.dial(t)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	await(t, wrote, "all is put although nobody reads")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines, hints := 0, 0
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		var i int
		if k, _ := fmt.Sscanf(sc.Text(), `"line %d`, &i); k == 1 {
			if i != lines {
				t.Fatalf("line %d came after %d lines", i, lines)
			}
			lines++
		} else {
			hints++
		}
	}
	if sc.Err() != nil || lines != n {
		t.Errorf("got %d lines, %v", lines, sc.Err())
	}
	if hints == n {
		t.Error("no hint was dropped: the bound does not work")
	}
}

// Until something was put, the response has not begun.
func TestOutboxBeginsWithItsFirstLine(t *testing.T) {
	h := serve(func(w http.ResponseWriter, r *http.Request) error {
		out := newOutbox(w, "application/x-ndjson")
		defer out.close()
		return out.fail(badRequest("no"))
	})
	conn := serveHandler(t, h).dial(t)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("got %v, %v", resp, err)
	}
}
