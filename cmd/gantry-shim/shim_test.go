package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/containerd/jsonlog"
	"gantry/containerd/stdio"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// When an exit is known, by Wait or by event, the log and the exit file are
// complete.
func TestExitIsToldAfterEverythingIsWritten(t *testing.T) {
	r := newRig(t)
	const n = 1_000_000
	k := r.must("a", stdio.Config{MaxSize: -1}, nil, "sh", "-c", fmt.Sprintf("seq 1 %d; echo oops >&2; echo -n end; exit 3", n))
	began := time.Now()
	k.start()
	if code := k.wait(""); code != 3 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("%.2f M lines/s from the process to the log", n/1e6/time.Since(began).Seconds())
	line, errs := 0, ""
	for _, e := range k.logged() {
		switch {
		case e.Stream == jsonlog.Stderr:
			errs += string(e.Line)
		case line == n:
			if string(e.Line) != "end" {
				t.Errorf("the last piece is %q", e.Line)
			}
			line++
		default:
			if line++; string(e.Line) != strconv.Itoa(line)+"\n" {
				t.Fatalf("line %d is %q", line, e.Line)
			}
		}
	}
	if line != n+1 || errs != "oops\n" {
		t.Errorf("%d lines, stderr %q", line, errs)
	}
	file := k.exitFile()
	event, recorded := r.daemon.exit(r.ctx, t, "a", "a")
	if !recorded {
		t.Error("the exit was told before its file was there")
	}
	if file.ID != "a" || file.ExecID == nil || *file.ExecID != "" || file.Code != 3 || file.Pid != event.Pid || !file.At.Equal(event.ExitedAt.AsTime()) || event.ExitStatus != 3 {
		t.Errorf("exit file %+v, event %+v", file, event)
	}
	k.remove()
	if got, want := r.daemon.kinds("a"), "TaskCreate TaskStart TaskExit TaskDelete"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
	r.shutdown()
}

// The daemon is killed while a container writes: no line is lost, its exit is
// on disk, and a new daemon finds the shim.
func TestDaemonIsKilled(t *testing.T) {
	r := newRig(t)
	// It goes on when it has read a line, so that it certainly runs on after the kill.
	k := r.must("a", stdio.Config{MaxSize: -1}, stdin, "sh", "-c", "seq 1 50000; read go; seq 50001 100000; exit 5")
	k.start()
	owner := k.attach()
	r.killDaemon()
	if _, err := io.WriteString(owner, "go\n"); err != nil {
		t.Fatal(err)
	}
	if err := owner.Copy(nil, nil); err != nil {
		t.Fatal(err)
	}
	r.connect()
	if code := k.wait(""); code != 5 {
		t.Errorf("exit code %d", code)
	}
	if file := k.exitFile(); file.Code != 5 {
		t.Errorf("exit file %+v", file)
	}
	for i, e := range k.logged() {
		if string(e.Line) != strconv.Itoa(i+1)+"\n" {
			t.Fatalf("line %d is %q", i+1, e.Line)
		}
	}
	if n := len(k.logged()); n != 100000 {
		t.Errorf("%d lines", n)
	}
	state, err := r.task.State(r.ctx, &taskAPI.StateRequest{ID: "a"})
	if err != nil || state.Status != task.Status_STOPPED || !stdio.IsURI(state.Stdout) || !stdio.IsURI(state.Stdin) {
		t.Errorf("state %+v, %v", state, err)
	}
	k.remove()
}

func stdin(_ *specs.Spec, r *taskAPI.CreateTaskRequest) { r.Stdin = r.Stdout }

func TestAttachedRunGetsTheFirstByteAndGivesInput(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{CloseStdin: true}, stdin, "sh", "-c", "echo hello; cat; echo bye >&2")
	s := k.attach(stdio.WithStdin())
	var out, errs bytes.Buffer
	got := make(chan error, 1)
	go func() { got <- s.Copy(&out, &errs) }()
	k.start()
	big := strings.Repeat("0123456789abcde\n", 64<<10)
	if _, err := io.WriteString(s, big); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil || out.String() != "hello\n"+big || errs.String() != "bye\n" {
		t.Errorf("got %d bytes and %q, %v", out.Len(), errs.String(), err)
	}
	if code := k.wait(""); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := k.logText(); len(text) != len("hello\n"+big+"bye\n") {
		t.Errorf("the log has %d bytes", len(text))
	}
	k.remove()
}

// Input that was ended before the process ran ends it all the same.
func TestInputEndedBeforeStart(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{CloseStdin: true}, stdin, "cat")
	s := k.attach(stdio.WithStdin())
	io.WriteString(s, "early")
	s.CloseWrite()
	got := collect(t, s)
	k.start()
	if out := got(); out != "early" {
		t.Errorf("got %q", out)
	}
	k.wait("")
	k.remove()
}

func TestCloseIO(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{}, stdin, "cat")
	s := k.attach(stdio.WithStdin())
	k.start()
	io.WriteString(s, "kept")
	s.CloseWrite() // not asked for: the input stays open
	if _, p, err := s.Next(); err != nil || string(p) != "kept" {
		t.Fatalf("got %q, %v", p, err)
	}
	s.Close()
	again := k.attach()
	io.WriteString(again, "more")
	if _, p, err := again.Next(); err != nil || string(p) != "more" {
		t.Fatalf("got %q, %v", p, err)
	}
	if _, err := r.task.CloseIO(r.ctx, &taskAPI.CloseIORequest{ID: "a", Stdin: true}); err != nil {
		t.Fatal(err)
	}
	if code := k.wait(""); code != 0 {
		t.Errorf("exit code %d", code)
	}
	k.remove()
}

func TestTerminal(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{CloseStdin: true}, func(s *specs.Spec, q *taskAPI.CreateTaskRequest) {
		s.Process.Terminal = true
		q.Stdin = q.Stdout
	}, "sh", "-c", "stty -echo; echo ready; read x; stty size; read y; echo $x $y; seq 1 20000; exit 9")
	s := k.attach(stdio.WithStdin())
	k.start()
	text := ""
	until := func(want string) {
		t.Helper()
		for !strings.Contains(text, want) {
			stream, p, err := s.Next()
			if err != nil {
				t.Fatalf("after %q: %v", text, err)
			}
			if stream != stdio.Stdout {
				t.Errorf("a terminal's output on stream %d", stream)
			}
			text += string(p)
		}
	}
	until("ready\r\n")
	if _, err := r.task.ResizePty(r.ctx, &taskAPI.ResizePtyRequest{ID: "a", Width: 91, Height: 37}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(s, "one\n")
	until("37 91\r\n")
	s.CloseWrite() // a terminal has no end of file
	other := k.attach()
	io.WriteString(other, "two\n")
	until("one two\r\n")
	for {
		_, p, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text += string(p)
	}
	if !strings.HasSuffix(text, "19999\r\n20000\r\n") {
		t.Errorf("the output ends with %q", text[max(0, len(text)-40):])
	}
	if code := k.wait(""); code != 9 {
		t.Errorf("exit code %d", code)
	}
	if logged := k.logText(); logged != text {
		t.Errorf("the log has %d bytes, the client got %d", len(logged), len(text))
	}
	k.remove()
}

// exec starts one in k. Its client attaches before it starts.
func (k *container) exec(id string, c stdio.Config, in bool, args ...string) *stdio.Stream {
	k.t.Helper()
	spec, err := typeurl.MarshalAnyToProto(&specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}})
	if err != nil {
		k.t.Fatal(err)
	}
	c.Socket = filepath.Join(k.root, "io", id)
	q := &taskAPI.ExecProcessRequest{ID: k.id, ExecID: id, Stdout: c.URI(), Stderr: c.URI(), Spec: spec}
	if in {
		q.Stdin = c.URI()
	}
	if _, err := k.task.Exec(k.ctx, q); err != nil {
		k.t.Fatal(err)
	}
	s := attachAt(k.ctx, k.t, c.Socket, stdio.WithStdin())
	if _, err := k.task.Start(k.ctx, &taskAPI.StartRequest{ID: k.id, ExecID: id}); err != nil {
		k.t.Fatal(err)
	}
	return s
}

func (k *container) removeExec(id string) {
	k.t.Helper()
	if _, err := k.task.Delete(k.ctx, &taskAPI.DeleteRequest{ID: k.id, ExecID: id}); err != nil {
		k.t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(k.root, "io", id)); !os.IsNotExist(err) {
		k.t.Errorf("the socket of exec %s is left: %v", id, err)
	}
}

func TestExec(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{}, nil, "sleep", "1000")
	k.start()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			id := fmt.Sprint("e", i)
			s := k.exec(id, stdio.Config{CloseStdin: true}, true, "sh", "-c", fmt.Sprintf("echo first; cat; exit %d", i))
			io.WriteString(s, id)
			s.CloseWrite()
			if out := collect(t, s)(); out != "first\n"+id {
				t.Errorf("%s: got %q", id, out)
			}
			if code := k.wait(id); code != uint32(i) {
				t.Errorf("%s: exit code %d", id, code)
			}
			k.removeExec(id)
		})
	}
	all.Wait()
	if text := k.logText(); text != "" {
		t.Errorf("an exec's output in the container's log: %q", text)
	}

	// A child in the background holds the output; the exec's end counts.
	s := k.exec("bg", stdio.Config{}, false, "sh", "-c", "sleep 1000 & echo out")
	if code := k.wait("bg"); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got := collect(t, s)
	k.removeExec("bg")
	if out := got(); out != "out\n" {
		t.Errorf("got %q", out)
	}

	// One that cannot start ends its client's stream and leaves nothing.
	spec, _ := typeurl.MarshalAnyToProto(&specs.Process{Args: []string{"/nope"}, Cwd: "/"})
	c := stdio.Config{Socket: filepath.Join(r.root, "io", "bad")}
	if _, err := r.task.Exec(r.ctx, &taskAPI.ExecProcessRequest{ID: "a", ExecID: "bad", Stdout: c.URI(), Stderr: c.URI(), Spec: spec}); err != nil {
		t.Fatal(err)
	}
	client := collect(t, attachAt(r.ctx, t, c.Socket))
	if _, err := r.task.Start(r.ctx, &taskAPI.StartRequest{ID: "a", ExecID: "bad"}); err == nil {
		t.Error("a missing command was started")
	}
	client()
	k.removeExec("bad")

	k.kill(unix.SIGKILL)
	if code := k.wait(""); code != 137 {
		t.Errorf("exit code %d", code)
	}
	k.remove()
	kinds := strings.Fields(r.daemon.kinds("a"))
	if n := len(kinds); strings.Join(kinds[n-2:], " ") != "TaskExit TaskDelete" || strings.Count(strings.Join(kinds, " "), "TaskExit") != 6 {
		t.Errorf("events %q", kinds)
	}
	entries, err := os.ReadDir(filepath.Join(r.root, "exits"))
	if err != nil || len(entries) != 1 {
		t.Errorf("exit files %v, %v; want the container's alone", entries, err)
	}
}

// A daemon that takes events and never answers holds up no exit.
func TestStuckDaemon(t *testing.T) {
	r := newRig(t)
	a := r.must("a", stdio.Config{}, nil, "sleep", "1000")
	b := r.must("b", stdio.Config{}, nil, "sleep", "1000")
	release := r.daemon.hold()
	defer release()
	for _, k := range []*container{a, b} {
		k.start()
		k.kill(unix.SIGKILL)
		if code := k.wait(""); code != 137 {
			t.Errorf("%s: exit code %d", k.id, code)
		}
		if file := k.exitFile(); file.Code != 137 {
			t.Errorf("%s: exit file %+v", k.id, file)
		}
		k.remove()
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	r := newRig(t)
	k := r.must("keeper", stdio.Config{}, nil, "sleep", "1000")
	_, err := r.create("a", stdio.Config{}, nil, "/nope")
	if err == nil || !strings.Contains(err.Error(), "/nope") {
		t.Fatalf("creating with a missing command: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.root, "io", "a")); !os.IsNotExist(err) {
		t.Errorf("its socket is left: %v", err)
	}
	_, err = r.create("b", stdio.Config{}, func(_ *specs.Spec, q *taskAPI.CreateTaskRequest) { q.Stdout = "gantry:///x?max-size=nonsense" }, "true")
	if !errdefs.IsInvalidArgument(errgrpc.ToNative(err)) {
		t.Errorf("creating with a bad URI: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(r.root, "b-a")); err != nil {
		t.Fatal(err)
	}
	again := r.must("a", stdio.Config{}, nil, "true") // the name is free
	again.start()
	again.wait("")
	again.remove()
	k.kill(unix.SIGKILL)
	k.wait("")
	k.remove()
}

func TestKill(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{}, nil, "sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done")
	s := k.attach()
	k.start()
	if _, p, err := s.Next(); err != nil || string(p) != "ready\n" {
		t.Fatalf("got %q, %v", p, err)
	}
	k.kill(unix.SIGHUP)
	if _, p, err := s.Next(); err != nil || string(p) != "hup\n" {
		t.Fatalf("got %q, %v", p, err)
	}
	if _, err := r.task.Kill(r.ctx, &taskAPI.KillRequest{ID: "a", Signal: 1000}); !errdefs.IsInvalidArgument(errgrpc.ToNative(err)) {
		t.Errorf("signal 1000: %v", err)
	}
	if _, err := r.task.Kill(r.ctx, &taskAPI.KillRequest{ID: "b", Signal: 9}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("another container: %v", err)
	}
	if _, err := r.task.Pause(r.ctx, &taskAPI.PauseRequest{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	k.kill(unix.SIGKILL)
	if code := k.wait(""); code != 137 {
		t.Errorf("exit code %d", code)
	}
	if _, err := r.task.Kill(r.ctx, &taskAPI.KillRequest{ID: "a", Signal: 9}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		t.Errorf("one that has ended: %v", err)
	}
	k.remove()
}

// Thirty containers of one shim are killed at once. All exits are told with
// their files there, and nothing collapses into waits of seconds.
func TestThirtyKilledAtOnce(t *testing.T) {
	r := newRig(t)
	var all []*container
	var starting sync.WaitGroup
	first := r.must("c0", stdio.Config{}, nil, "sleep", "1000")
	all = append(all, first)
	one, _ := memory(t, r.pid)
	rest := make([]*container, 29)
	room := make(chan struct{}, 4)
	for i := range rest {
		starting.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			rest[i] = r.must(fmt.Sprint("c", i+1), stdio.Config{}, nil, "sh", "-c", "echo hi; exec sleep 1000")
		})
	}
	starting.Wait()
	all = append(all, rest...)
	for _, k := range all {
		k.start()
	}
	rss, pss := memory(t, r.pid)
	files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.pid))
	t.Logf("shim with 30 containers: %d files; RSS %d KiB, PSS %d KiB, with one RSS %d KiB", len(files), rss, pss, one)

	began := time.Now()
	var ending sync.WaitGroup
	for i, k := range all {
		ending.Go(func() {
			id := fmt.Sprint("e", i)
			if out := collect(t, k.exec(id, stdio.Config{}, false, "echo", id))(); out != id+"\n" {
				t.Errorf("%s: got %q", id, out)
			}
			k.wait(id)
			k.removeExec(id)
		})
	}
	ending.Wait()
	t.Logf("30 execs at once in %v", time.Since(began))

	began = time.Now()
	for _, k := range all {
		ending.Go(func() {
			k.kill(unix.SIGKILL)
			if code := k.wait(""); code != 137 {
				t.Errorf("%s: exit code %d", k.id, code)
			}
		})
	}
	ending.Wait()
	t.Logf("30 killed in %v", time.Since(began))
	for _, k := range all {
		if _, recorded := r.daemon.exit(r.ctx, t, k.id, k.id); !recorded {
			t.Errorf("%s: told before its file was there", k.id)
		}
	}
	began = time.Now()
	for _, k := range all {
		ending.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			k.remove()
		})
	}
	ending.Wait()
	t.Logf("30 deleted four at a time in %v", time.Since(began))
}

// The container that started the shim goes first; others join and stay.
func TestLeaderGoesFirst(t *testing.T) {
	r := newRig(t)
	leader := r.must("leader", stdio.Config{}, nil, "true")
	stays := r.must("stays", stdio.Config{}, stdin, "cat")
	leader.start()
	leader.wait("")
	leader.remove()
	if err := os.RemoveAll(leader.bundle); err != nil {
		t.Fatal(err)
	}
	stays.start()
	stays.kill(unix.SIGKILL)
	stays.wait("")
	stays.remove()
	// containerd asks for the end after each container; the shim stays for the next.
	if _, err := r.task.Shutdown(r.ctx, &taskAPI.ShutdownRequest{}); err != nil {
		t.Fatal(err)
	}
	stays = r.must("stays", stdio.Config{}, stdin, "cat")
	late := r.must("late", stdio.Config{}, nil, "echo", "late")
	late.start()
	late.wait("")
	if text := late.logText(); text != "late\n" {
		t.Errorf("log %q", text)
	}
	late.remove()
	stays.start()
	s := stays.attach()
	io.WriteString(s, "alive")
	if _, p, err := s.Next(); err != nil || string(p) != "alive" {
		t.Errorf("got %q, %v", p, err)
	}
	stays.kill(unix.SIGKILL)
	stays.wait("")
	stays.remove()
	r.shutdown()
}

// memory reads a process's, in KiB.
func memory(t *testing.T, pid int) (rss, pss int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		fmt.Sscanf(line, "Rss: %d", &rss)
		fmt.Sscanf(line, "Pss: %d", &pss)
	}
	return rss, pss
}
