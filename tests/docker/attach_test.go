package docker_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/gorilla/websocket"
)

// dial connects to the daemon's socket.
func dial(d *harness.Daemon) net.Conn {
	d.T.Helper()
	c, err := net.Dial("unix", strings.TrimPrefix(d.Host, "unix://"))
	if err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// raw sends a request that takes the connection over, and reads the head of
// the answer.
func raw(d *harness.Daemon, path string) (net.Conn, *http.Response, *bufio.Reader) {
	d.T.Helper()
	c := dial(d)
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", path)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		d.T.Fatal(err)
	}
	return c, resp, in
}

func TestAttachByWebsocket(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("create", "-i", "--name", "echo", image, "sh", "-c", "while read line; do echo got $line; echo err >&2; done")
	connect := func(query string, origin string) (*websocket.Conn, *http.Response, error) {
		dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return dial(d), nil }}
		head := http.Header{}
		if origin != "" {
			head.Set("Origin", origin)
		}
		return dialer.Dial("ws://localhost/v1.44/containers/echo/attach/ws?"+query, head)
	}
	if _, resp, err := connect("stream=1", "http://evil.example"); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin: %v, %v", resp, err)
	}
	ws, _, err := connect("stream=1&stdin=1&stdout=1", "")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	d.MustDocker("start", "echo")
	if err := ws.WriteMessage(websocket.TextMessage, []byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for !strings.Contains(got.String(), "got hello\n") {
		kind, p, err := ws.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage {
			t.Fatalf("message of kind %d, %v, after %q", kind, err, got.String())
		}
		got.Write(p)
	}
	if strings.Contains(got.String(), "err") {
		t.Errorf("stderr was not asked for: %q", got.String())
	}
	d.MustDocker("kill", "echo")
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("at the container's end: %v", err)
	}
	// what was logged, and no more
	ws, _, err = connect("logs=1&stdout=1", "")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if _, p, err := ws.ReadMessage(); err != nil || string(p) != "got hello\n" {
		t.Errorf("the log: %q, %v", p, err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("after the log: %v", err)
	}
}

func TestAttachOfLogsAloneAndDetaching(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "--name", "said", image, "sh", "-c", "echo one; echo two >&2")
	_, resp, in := raw(d, "/containers/said/attach?logs=1&stdout=1&stderr=1")
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusSwitchingProtocols || ct != "application/vnd.docker.multiplexed-stream" {
		t.Errorf("%s %s", resp.Status, ct)
	}
	all, err := io.ReadAll(in)
	for _, frame := range []string{"\x01\x00\x00\x00\x00\x00\x00\x04one\n", "\x02\x00\x00\x00\x00\x00\x00\x04two\n"} {
		if err != nil || !strings.Contains(string(all), frame) {
			t.Errorf("the log as frames: %q, %v", all, err)
		}
	}

	term := openTerminal(t, d.DockerCommand(d.Dir, "run", "-it", "--name", "shell", image), 20, 80)
	term.send("echo in $((40+2))\r")
	term.expect("in 42")
	term.send("\x10\x11") // ctrl-p,ctrl-q
	term.end()
	if state := inspect(d, "shell", "{{.State.Status}}"); state != "running" {
		t.Errorf("after detaching it is %s", state)
	}
	d.MustDocker("pause", "shell")
	if _, resp, _ := raw(d, "/containers/shell/attach?stream=1"); resp.StatusCode != http.StatusConflict {
		t.Errorf("attach to a paused one: %s", resp.Status)
	}
	d.MustDocker("unpause", "shell")
}

// Clients that take nothing: the container goes on to its end, other clients
// are served, memory does not grow with what they miss, and the daemon's end
// does not wait for them.
func TestStalledClientsBlockNothing(t *testing.T) {
	t.Parallel()
	d := start(t)
	const megabytes = 48
	d.MustDocker("create", "--name", "loud", "--log-opt", "max-size=1m", image, "sh", "-c", fmt.Sprintf("yes 0123456789012345678901234567890123456789 | head -c %dm; echo; echo last", megabytes))
	_, resp, _ := raw(d, "/containers/loud/attach?stream=1&stdout=1") // read no further
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp.Status)
	}
	for _, path := range []string{"/containers/loud/logs?follow=1&stdout=1", "/events"} {
		fmt.Fprintf(dial(d), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	}
	d.MustDocker("start", "loud")
	if code := strings.TrimSpace(d.MustDocker("wait", "loud")); code != "0" {
		t.Errorf("exit code %s", code)
	}
	if out := d.MustDocker("logs", "--tail", "1", "loud"); out != "last\n" {
		t.Errorf("the log ends with %q", out)
	}
	began := make(chan struct{})
	go func() { defer close(began); d.Stop() }() // it has a bound of its own, and fails the test
	<-began
	d.Launch()
}
