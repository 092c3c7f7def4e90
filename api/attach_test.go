package api

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"gantry/engine"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	moby "github.com/moby/moby/client"
)

func serveBox(t *testing.T, b box) *served {
	back := refusing()
	back.attacher, back.execs, back.events = b, b, b
	return serveBackends(t, back)
}

func attach(t *testing.T, s *served, o moby.ContainerAttachOptions) moby.HijackedResponse {
	t.Helper()
	o.Stream, o.Stdin, o.Stdout, o.Stderr = true, true, true, true
	got, err := s.client(t).ContainerAttach(testContext(t), "x", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(got.Close)
	return got.HijackedResponse
}

// What goes in comes to the process, its two outputs come back apart, and the
// end of the input does not end the output.
func TestAttachCarriesAllStreams(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p, config: container.Config{StdinOnce: true}})
	conn := attach(t, s, moby.ContainerAttachOptions{})
	if mt, _ := conn.MediaType(); mt != types.MediaTypeMultiplexedStream {
		t.Errorf("media type %q", mt)
	}
	go func() {
		in, _ := io.ReadAll(p.stdin) // ends with the client's half-close
		p.write(stdout, "out:"+string(in))
		p.write(stderr, "err")
		p.exit()
	}()
	fmt.Fprint(conn.Conn, "hello")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, conn.Reader); err != nil {
		t.Fatal(err)
	}
	if out.String() != "out:hello" || errs.String() != "err" {
		t.Errorf("got %q and %q", out.String(), errs.String())
	}
	await(t, p.closed, "the stream is let go at the end")
}

func TestAttachOfATerminalIsRaw(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p, config: container.Config{Tty: true}})
	conn := attach(t, s, moby.ContainerAttachOptions{})
	if mt, _ := conn.MediaType(); mt != types.MediaTypeRawStream {
		t.Errorf("media type %q", mt)
	}
	go func() { p.write(stdout, "one "); p.write(stdout, "two"); p.exit() }()
	got, err := io.ReadAll(conn.Reader)
	if err != nil || string(got) != "one two" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Versions before 1.42 know one media type only.
func TestAttachOfAnOldClient(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p})
	c := s.client(t, moby.WithAPIVersion("1.41"))
	got, err := c.ContainerAttach(testContext(t), "x", moby.ContainerAttachOptions{Stream: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if mt, _ := got.MediaType(); mt != types.MediaTypeRawStream {
		t.Errorf("media type %q", mt)
	}
	p.exit()
}

// A client without Upgrade gets the plain answer of old.
func TestAttachWithoutUpgrade(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p, config: container.Config{Tty: true}})
	conn := s.dial(t)
	fmt.Fprint(conn, "POST /containers/x/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	go func() { p.write(stdout, "hello"); p.exit() }()
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	want := "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
	if !strings.HasPrefix(string(got), want) || !strings.HasSuffix(string(got), "\r\n\r\nhello") {
		t.Errorf("got %q", got)
	}
}

// Input that came in one packet with the request is not lost.
func TestAttachKeepsEarlyInput(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p, config: container.Config{StdinOnce: true, Tty: true}})
	conn := s.dial(t)
	fmt.Fprint(conn, "POST /containers/x/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly")
	got := make([]byte, 5)
	if _, err := io.ReadFull(p.stdin, got); err != nil || string(got) != "early" {
		t.Errorf("got %q, %v", got, err)
	}
	p.exit()
}

// Without StdinOnce the input stays open for the next client.
func TestAttachLeavesSharedInputOpen(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p})
	conn := attach(t, s, moby.ContainerAttachOptions{})
	fmt.Fprint(conn.Conn, "a")
	conn.CloseWrite()
	one := make([]byte, 1)
	if _, err := io.ReadFull(p.stdin, one); err != nil {
		t.Fatal(err)
	}
	go func() { p.write(stdout, "still here"); p.exit() }()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, conn.Reader); err != nil || out.String() != "still here" {
		t.Fatalf("got %q, %v", out.String(), err)
	}
	// the server let go by Close of the stream, not by the end of the input
	if _, err := p.stdin.Read(one); err != errClosed {
		t.Errorf("the input ended with %v", err)
	}
}

// A client that goes away is noticed although the process says nothing.
func TestAttachNoticesALostClient(t *testing.T) {
	for name, halfFirst := range map[string]bool{"at once": false, "after its input ended": true} {
		t.Run(name, func(t *testing.T) {
			p := newProcess()
			s := serveBox(t, box{process: p})
			conn := attach(t, s, moby.ContainerAttachOptions{})
			p.write(stdout, "x") // connected for sure
			if halfFirst {
				conn.CloseWrite()
				p.write(stdout, "y")
			}
			conn.Close()
			await(t, p.closed, "the stream of a client that left is let go")
		})
	}
}

func TestDetachKeys(t *testing.T) {
	for keys, typed := range map[string]string{"": "ab\x10\x11cd", "ctrl-a": "ab\x01cd"} {
		p := newProcess()
		s := serveBox(t, box{process: p, config: container.Config{Tty: true, StdinOnce: true}})
		conn := attach(t, s, moby.ContainerAttachOptions{DetachKeys: keys})
		read := make(chan []byte, 1)
		go func() { b, _ := io.ReadAll(p.stdin); read <- b }()
		fmt.Fprint(conn.Conn, typed)
		await(t, p.closed, "detached")
		if got := <-read; string(got) != "ab" {
			t.Errorf("keys %q: the process read %q", keys, got)
		}
		if _, err := io.ReadAll(conn.Reader); err != nil {
			t.Errorf("keys %q: the stream ended with %v", keys, err)
		}
	}
	s := serveBox(t, box{process: newProcess()})
	if _, err := s.client(t).ContainerAttach(testContext(t), "x", moby.ContainerAttachOptions{Stream: true, DetachKeys: "nonsense-"}); err == nil {
		t.Error("keys that mean nothing are accepted")
	}
}

func TestAttachReplaysTheLog(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p, logged: []engine.LogEntry{{Stream: "stdout", Line: []byte("old\n")}, {Stream: "stderr", Line: []byte("bad\n")}}})
	conn := attach(t, s, moby.ContainerAttachOptions{Logs: true})
	go func() { p.write(stdout, "new\n"); p.exit() }()
	var out, errs bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &errs, conn.Reader); err != nil || out.String() != "old\nnew\n" || errs.String() != "bad\n" {
		t.Errorf("got %q and %q, %v", out.String(), errs.String(), err)
	}
}

// A client that sends without end does not keep the process's end from it.
func TestEndReachesAClientThatStillSends(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p, config: container.Config{StdinOnce: true}})
	conn := attach(t, s, moby.ContainerAttachOptions{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.Copy(conn.Conn, endless{})
	}()
	go func() { p.write(stdout, strings.Repeat("x", 1<<20)); p.exit() }()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, io.Discard, conn.Reader); err != nil || out.Len() != 1<<20 {
		t.Errorf("got %d bytes, %v", out.Len(), err)
	}
	conn.Close()
	await(t, sent, "the client's sending ends")
}

// Clients ask for the exit code when the output ends: the process must have
// ended by then too.
func TestExecEndsWhenItsProcessHas(t *testing.T) {
	p, deaths := newProcess(), make(chan events.Message)
	s := serveBox(t, box{process: p, deaths: deaths})
	conn, err := s.client(t).ExecAttach(testContext(t), "e", moby.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	told := make(chan struct{})
	go func() { io.Copy(io.Discard, conn.Reader); close(told) }()
	p.exit()
	die := func(id string) {
		deaths <- events.Message{Action: events.ActionExecDie, Actor: events.Actor{Attributes: map[string]string{"execID": id}}}
	}
	die("another")
	select {
	case <-told:
		t.Error("the client saw the end before the process had ended")
	default:
	}
	die("e")
	await(t, told, "the client sees the end")
}

func TestExecCarriesStreams(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p})
	c := s.client(t)
	conn, err := c.ExecAttach(testContext(t), "e", moby.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		in, _ := io.ReadAll(p.stdin)
		p.write(stderr, string(in))
		p.exit()
	}()
	fmt.Fprint(conn.Conn, "in")
	conn.CloseWrite()
	var errs bytes.Buffer
	if _, err := stdcopy.StdCopy(io.Discard, &errs, conn.Reader); err != nil || errs.String() != "in" {
		t.Errorf("got %q, %v", errs.String(), err)
	}
	if _, err := c.ExecStart(testContext(t), "e", moby.ExecStartOptions{Detach: true}); err != nil {
		t.Errorf("detached: %v", err)
	}
}

// Clients show no message of a refused upgrade, so a failing start tells in the
// stream.
func TestExecThatCannotStartSaysWhy(t *testing.T) {
	b := box{process: newProcess()}
	b.err = fmt.Errorf("exec in container %q: no such file", "x")
	s := serveBox(t, b)
	conn, err := s.client(t).ExecAttach(testContext(t), "e", moby.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var errs bytes.Buffer
	if _, err := stdcopy.StdCopy(io.Discard, &errs, conn.Reader); err != nil || errs.String() != "exec in container \"x\": no such file\r\n" {
		t.Errorf("got %q, %v", errs.String(), err)
	}
	if _, err := s.client(t).ExecStart(testContext(t), "e", moby.ExecStartOptions{Detach: true}); err == nil {
		t.Error("a detached start that fails is no error")
	}
}

// When the server stops, attached clients see the end at once.
func TestStoppingEndsAttach(t *testing.T) {
	p := newProcess()
	s := serveBox(t, box{process: p})
	conn := attach(t, s, moby.ContainerAttachOptions{})
	p.write(stdout, "x")
	ended := make(chan struct{})
	go func() { io.Copy(io.Discard, conn.Reader); close(ended) }()
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	await(t, ended, "the client's stream ends")
	await(t, p.closed, "the process's stream is let go")
}

// waiting plays containers that are waited for.
type waiting struct {
	refuser
	registered chan struct{}
	ended      chan container.WaitResponse
}

func (w waiting) WaitContainer(context.Context, string, container.WaitCondition) (<-chan container.WaitResponse, error) {
	close(w.registered)
	return w.ended, nil
}

// The headers come when the wait is registered, not when it is over: clients
// start the container in between.
func TestWaitAnswersInTwoSteps(t *testing.T) {
	wt := waiting{registered: make(chan struct{}), ended: make(chan container.WaitResponse, 1)}
	b := refusing()
	b.control = wt
	s := serveBackends(t, b)
	conn := s.dial(t)
	fmt.Fprint(conn, "POST /v1.47/containers/x/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("got %v, %v", resp, err)
	}
	await(t, wt.registered, "the wait is registered before the headers")
	wt.ended <- container.WaitResponse{StatusCode: 7}
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.TrimSpace(string(body)) != `{"StatusCode":7}` {
		t.Errorf("got %q, %v", body, err)
	}
}

// A daemon that stops does not tell an exit code that it does not know.
func TestStoppingBreaksWait(t *testing.T) {
	wt := waiting{registered: make(chan struct{}), ended: make(chan container.WaitResponse)}
	b := refusing()
	b.control = wt
	s := serveBackends(t, b)
	got := s.client(t).ContainerWait(testContext(t), "x", moby.ContainerWaitOptions{})
	await(t, wt.registered, "the wait is registered")
	if err := s.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	select {
	case r := <-got.Result:
		t.Errorf("got exit code %d", r.StatusCode)
	case err := <-got.Error:
		if err == nil {
			t.Error("no error")
		}
	}
}
