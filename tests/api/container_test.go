package api_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
)

// A container from its creation to its removal, as clients see it.
func TestLifecycle(t *testing.T) {
	h := newHost(t)
	id := h.create("one", container.Config{Cmd: []string{"sleep", "1000"}, Labels: map[string]string{"k": "v"}}, container.HostConfig{})
	if got := h.inspect("one"); got.ID != id || got.Name != "/one" || got.State.Status != container.StateCreated || got.Config.Labels["k"] != "v" {
		t.Errorf("created: %+v %+v", got, got.State)
	}
	h.start("one")
	h.start("one") // runs already: no failure
	got := h.inspect(id[:12])
	if !got.State.Running || got.State.Pid == 0 || got.Path != "sleep" {
		t.Errorf("started: %+v", got.State)
	}
	top, err := h.ContainerTop(h.ctx, id, moby.ContainerTopOptions{})
	h.must(err)
	if len(top.Processes) != 1 || !strings.Contains(strings.Join(top.Processes[0], " "), "sleep 1000") {
		t.Errorf("top: %+v", top)
	}
	_, err = h.ContainerPause(h.ctx, id, moby.ContainerPauseOptions{})
	h.must(err)
	if s := h.inspect(id).State; s.Status != container.StatePaused || !s.Paused {
		t.Errorf("paused: %+v", s)
	}
	_, err = h.ContainerUnpause(h.ctx, id, moby.ContainerUnpauseOptions{})
	h.must(err)
	_, err = h.ContainerRename(h.ctx, id, moby.ContainerRenameOptions{NewName: "two"})
	h.must(err)
	if _, err := h.ContainerInspect(h.ctx, "one", moby.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("the old name: %v", err)
	}
	if _, err := h.ContainerRemove(h.ctx, "two", moby.ContainerRemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("remove of a running container: %v", err)
	}
	ended := h.wait("two", container.WaitConditionNextExit)
	_, err = h.ContainerKill(h.ctx, "two", moby.ContainerKillOptions{Signal: "KILL"})
	h.must(err)
	if code := ended(); code != 137 {
		t.Errorf("exit code %d", code)
	}
	if _, err := h.ContainerKill(h.ctx, "two", moby.ContainerKillOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("kill of a container that ended: %v", err)
	}
	_, err = h.ContainerRemove(h.ctx, "two", moby.ContainerRemoveOptions{})
	h.must(err)
	if _, err := h.ContainerInspect(h.ctx, id, moby.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("removed: %v", err)
	}
}

func TestStopAndRestart(t *testing.T) {
	h := newHost(t)
	id := h.run("stops", `trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done`)
	seconds := 30
	ended := h.wait(id, container.WaitConditionNextExit)
	h.follow(id, "ready")
	_, err := h.ContainerStop(h.ctx, id, moby.ContainerStopOptions{Timeout: &seconds})
	h.must(err)
	if code := ended(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	_, err = h.ContainerStop(h.ctx, id, moby.ContainerStopOptions{})
	h.must(err) // stopped already: no failure
	pid := h.inspect(id).State.Pid
	_, err = h.ContainerRestart(h.ctx, id, moby.ContainerRestartOptions{})
	h.must(err)
	if s := h.inspect(id).State; !s.Running || s.Pid == pid {
		t.Errorf("restarted: %+v", s)
	}
}

// follow reads a container's log as it grows until a line comes.
func (h *host) follow(id, line string) {
	h.Helper()
	r, err := h.ContainerLogs(h.ctx, id, moby.ContainerLogsOptions{ShowStdout: true, Follow: true})
	h.must(err)
	defer r.Close()
	want := line + "\n"
	got := make([]byte, 8+len(want)) // one frame
	if _, err := io.ReadFull(r, got); err != nil || string(got[8:]) != want {
		h.Fatalf("log of %s: %q, %v", id, got, err)
	}
}

// Whoever attaches before the start misses nothing, and the wait that was
// registered before it tells the code.
func TestAttachBeforeStart(t *testing.T) {
	h := newHost(t)
	id := h.create("", container.Config{Cmd: []string{"sh", "-c", "echo out; echo err >&2; exit 5"}}, container.HostConfig{})
	conn, err := h.ContainerAttach(h.ctx, id, moby.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	h.must(err)
	defer conn.Close()
	ended := h.wait(id, container.WaitConditionNextExit)
	h.start(id)
	var out, errs bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &errs, conn.Reader)
	h.must(err)
	if out.String() != "out\n" || errs.String() != "err\n" {
		t.Errorf("got %q and %q", out.String(), errs.String())
	}
	if code := ended(); code != 5 {
		t.Errorf("exit code %d", code)
	}
}

// A process may end before its start has returned: that is a start that went
// well, with its exit code and all of its output.
func TestProcessesThatEndAtOnce(t *testing.T) {
	h := newHost(t)
	for i := range 20 {
		id := h.create("", container.Config{Cmd: []string{"sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i)}}, container.HostConfig{})
		ended := h.wait(id, container.WaitConditionNextExit)
		h.start(id)
		if code := ended(); code != int64(i) {
			t.Errorf("exit code %d, want %d", code, i)
		}
		if s := h.inspect(id).State; s.Status != container.StateExited || s.ExitCode != i {
			t.Errorf("state after the wait: %+v", s)
		}
		if out, _ := h.logs(id, moby.ContainerLogsOptions{}); out != fmt.Sprintf("%d\n", i) {
			t.Errorf("log %q, want %d", out, i)
		}
	}
}

func TestAttachedInput(t *testing.T) {
	h := newHost(t)
	id := h.create("", container.Config{Cmd: []string{"cat"}, OpenStdin: true, StdinOnce: true, AttachStdin: true}, container.HostConfig{})
	conn, err := h.ContainerAttach(h.ctx, id, moby.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	h.must(err)
	defer conn.Close()
	h.start(id)
	const n = 1 << 20
	go func() {
		io.CopyN(conn.Conn, ones{}, n)
		conn.CloseWrite()
	}()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, conn.Reader)
	h.must(err)
	if out.Len() != n {
		t.Errorf("got %d bytes back of %d", out.Len(), n)
	}
	if code := h.wait(id, container.WaitConditionNotRunning)(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '1'
	}
	return len(p), nil
}

func TestTerminal(t *testing.T) {
	h := newHost(t)
	id := h.create("", container.Config{Cmd: []string{"sh"}, Tty: true, OpenStdin: true, StdinOnce: true}, container.HostConfig{ConsoleSize: [2]uint{31, 97}})
	conn, err := h.ContainerAttach(h.ctx, id, moby.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	h.must(err)
	defer conn.Close()
	h.start(id)
	_, err = h.ContainerResize(h.ctx, id, moby.ContainerResizeOptions{Height: 40, Width: 120})
	h.must(err)
	fmt.Fprint(conn.Conn, "stty size; exit 4\n")
	got, err := io.ReadAll(conn.Reader)
	h.must(err)
	if !strings.Contains(string(got), "40 120\r\n") {
		t.Errorf("got %q", got)
	}
	if code := h.wait(id, container.WaitConditionNotRunning)(); code != 4 {
		t.Errorf("exit code %d", code)
	}
}

func TestExec(t *testing.T) {
	h := newHost(t)
	id := h.run("host", "sleep 1000")
	exec := func(o moby.ExecCreateOptions, input string) (out, errs string, code int) {
		t.Helper()
		o.AttachStdout, o.AttachStderr, o.AttachStdin = true, true, input != ""
		x, err := h.ExecCreate(h.ctx, id, o)
		h.must(err)
		conn, err := h.ExecAttach(h.ctx, x.ID, moby.ExecAttachOptions{TTY: o.TTY})
		h.must(err)
		defer conn.Close()
		if input != "" {
			fmt.Fprint(conn.Conn, input)
			conn.CloseWrite()
		}
		var a, b bytes.Buffer
		if o.TTY {
			_, err = io.Copy(&a, conn.Reader)
		} else {
			_, err = stdcopy.StdCopy(&a, &b, conn.Reader)
		}
		h.must(err)
		got, err := h.ExecInspect(h.ctx, x.ID, moby.ExecInspectOptions{})
		h.must(err)
		if got.Running {
			t.Errorf("exec %q still runs after its output has ended", o.Cmd)
		}
		return a.String(), b.String(), got.ExitCode
	}
	if out, errs, code := exec(moby.ExecCreateOptions{Cmd: []string{"sh", "-c", "echo $A; pwd; echo e >&2; exit 9"}, Env: []string{"A=b"}, WorkingDir: "/tmp"}, ""); out != "b\n/tmp\n" || errs != "e\n" || code != 9 {
		t.Errorf("got %q, %q, %d", out, errs, code)
	}
	if out, _, code := exec(moby.ExecCreateOptions{Cmd: []string{"cat"}}, "hello"); out != "hello" || code != 0 {
		t.Errorf("input came back as %q, %d", out, code)
	}
	if out, _, code := exec(moby.ExecCreateOptions{Cmd: []string{"tty"}, TTY: true}, ""); !strings.HasPrefix(out, "/dev/pts/") || code != 0 {
		t.Errorf("terminal: %q, %d", out, code)
	}
	if _, errs, code := exec(moby.ExecCreateOptions{Cmd: []string{"/no/such/program"}}, ""); code != 126 && code != 127 || !strings.Contains(errs, "/no/such/program") {
		t.Errorf("a program that is not there: %q, %d", errs, code)
	}
	if _, err := h.ExecCreate(h.ctx, "nobody", moby.ExecCreateOptions{Cmd: []string{"true"}}); !errdefs.IsNotFound(err) {
		t.Errorf("no container: %v", err)
	}
	_, err := h.ContainerKill(h.ctx, id, moby.ContainerKillOptions{})
	h.must(err)
	h.wait(id, container.WaitConditionNotRunning)()
	if _, err := h.ExecCreate(h.ctx, id, moby.ExecCreateOptions{Cmd: []string{"true"}}); !errdefs.IsConflict(err) {
		t.Errorf("container that ended: %v", err)
	}
}

func TestLogs(t *testing.T) {
	h := newHost(t)
	id := h.run("logger", `for i in 1 2 3; do echo o$i; done; echo e >&2; printf cut`)
	h.wait(id, container.WaitConditionNotRunning)()
	if out, errs := h.logs(id, moby.ContainerLogsOptions{}); out != "o1\no2\no3\ncut" || errs != "e\n" {
		t.Errorf("got %q and %q", out, errs)
	}
	if out, _ := h.logs(id, moby.ContainerLogsOptions{Tail: "1"}); out != "cut" {
		t.Errorf("tail: %q", out)
	}
	// following what has ended ends too
	if out, _ := h.logs(id, moby.ContainerLogsOptions{Follow: true}); out != "o1\no2\no3\ncut" {
		t.Errorf("followed: %q", out)
	}
	out, _ := h.logs(id, moby.ContainerLogsOptions{Timestamps: true})
	first, _, ok := strings.Cut(strings.Split(out, "\n")[0], " o1")
	if !ok || len(first) != len("2026-02-03T04:05:06.000000070Z") {
		t.Errorf("timestamps: %q", out)
	}
	if out, _ := h.logs(id, moby.ContainerLogsOptions{Until: "1"}); out != "" {
		t.Errorf("until long ago: %q", out)
	}
}

func TestListFilters(t *testing.T) {
	h := newHost(t)
	a := h.run("alpha", "sleep 1000")
	b := h.create("beta", container.Config{Cmd: []string{"true"}, Labels: map[string]string{"tier": "back"}}, container.HostConfig{})
	c := h.run("gamma", "exit 7")
	h.wait(c, container.WaitConditionNotRunning)()
	list := func(all bool, f moby.Filters) []string {
		t.Helper()
		got, err := h.ContainerList(h.ctx, moby.ContainerListOptions{All: all, Filters: f})
		h.must(err)
		var names []string
		for _, c := range got.Items {
			names = append(names, strings.TrimPrefix(c.Names[0], "/"))
		}
		slices.Sort(names)
		return names
	}
	filter := func(k, v string) moby.Filters { return moby.Filters{}.Add(k, v) }
	for _, c := range []struct {
		all  bool
		f    moby.Filters
		want []string
	}{
		{false, nil, []string{"alpha"}},
		{true, nil, []string{"alpha", "beta", "gamma"}},
		{true, filter("id", a[:10]), []string{"alpha"}},
		{true, filter("name", "eta"), []string{"beta"}},
		{true, filter("label", "tier"), []string{"beta"}},
		{true, filter("label", "tier=front"), nil},
		{false, filter("status", "created"), []string{"beta"}},
		{true, filter("exited", "7"), []string{"gamma"}},
		{true, filter("ancestor", image), []string{"alpha", "beta", "gamma"}},
		{true, filter("before", b), []string{"alpha"}},
		{true, filter("since", b), []string{"gamma"}},
		{true, filter("network", "bridge"), []string{"alpha", "beta", "gamma"}},
	} {
		if got := list(c.all, c.f); !slices.Equal(got, c.want) {
			t.Errorf("all %v, filters %v: %q, want %q", c.all, c.f, got, c.want)
		}
	}
	if _, err := h.ContainerList(h.ctx, moby.ContainerListOptions{Filters: filter("colour", "red")}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an unknown filter: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	h := newHost(t)
	h.create("taken", container.Config{Cmd: []string{"true"}}, container.HostConfig{})
	create := func(name string, c container.Config) error {
		_, err := h.ContainerCreate(h.ctx, moby.ContainerCreateOptions{Name: name, Config: &c})
		return err
	}
	if err := create("taken", container.Config{Image: image}); !errdefs.IsConflict(err) {
		t.Errorf("a name in use: %v", err)
	}
	if err := create("-bad-", container.Config{Image: image}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a bad name: %v", err)
	}
	if err := create("", container.Config{Image: "nowhere:1"}); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "nowhere:1") {
		t.Errorf("an image that is not there: %v", err)
	}
	for _, err := range []error{
		func() error { _, err := h.ContainerStart(h.ctx, "nobody", moby.ContainerStartOptions{}); return err }(),
		func() error { _, err := h.ContainerStop(h.ctx, "nobody", moby.ContainerStopOptions{}); return err }(),
		func() error {
			_, err := h.ContainerLogs(h.ctx, "nobody", moby.ContainerLogsOptions{ShowStdout: true})
			return err
		}(),
		func() error { _, err := h.ContainerRemove(h.ctx, "nobody", moby.ContainerRemoveOptions{}); return err }(),
	} {
		if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("no such container: %v", err)
		}
	}
}
