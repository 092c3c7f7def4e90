package containerd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"gantry/containerd"
)

// A container's life: created, run, ended with its own code, which is told and
// recorded; then gone, with all that it left.
func TestContainerLife(t *testing.T) {
	h := open(t)
	h.load("busybox")
	root, err := h.PrepareRoot(h.ctx, "one", "busybox")
	h.must(err)
	h.must(root.With(h.ctx, func(path string) error {
		return os.WriteFile(filepath.Join(path, "given"), []byte("before"), 0o644)
	}))
	h.must(h.CreateContainer(h.ctx, containerd.ContainerSpec{
		ID: "one", Image: "busybox", Labels: map[string]string{"a": "b"}, Record: []byte(`{"x":1}`),
		Spec: spec("one", "sh", "-c", "cat /given > /taken; exit 7"),
	}))
	pid := h.start("one")
	x := h.exit("one")
	if x.Code != 7 || x.Pid != pid || x.At.IsZero() {
		t.Errorf("exit %+v, want code 7 of pid %d", x, pid)
	}
	rec, err := h.ExitRecord("one")
	h.must(err)
	if rec.Code != 7 || rec.Pid != pid {
		t.Errorf("exit record %+v", rec)
	}
	if got := h.read("one", "taken"); got != "before" {
		t.Errorf("the container read %q", got)
	}
	code, at, err := h.DeleteTask(h.ctx, "one")
	h.must(err)
	if code != 7 || !at.Equal(x.At) {
		t.Errorf("deleted with code %d at %s, want 7 at %s", code, at, x.At)
	}
	list, err := h.Containers(h.ctx)
	h.must(err)
	if len(list) != 1 || list[0].Labels["a"] != "b" || len(list[0].Labels) != 1 || string(list[0].Record) != `{"x":1}` || list[0].Image != "busybox" {
		t.Errorf("containers %+v", list)
	}
	h.must(h.UpdateRecord(h.ctx, "one", []byte(`{"x":2}`)))
	c, err := h.Container(h.ctx, "one")
	h.must(err)
	if string(c.Record) != `{"x":2}` || c.Labels["a"] != "b" {
		t.Errorf("updated to %+v", c)
	}
	before, err := h.Snapshots(h.ctx)
	h.must(err)
	h.must(h.DeleteContainer(h.ctx, "one"))
	h.must(h.DeleteContainer(h.ctx, "one"))
	after, err := h.Snapshots(h.ctx)
	h.must(err)
	if len(after) != len(before)-1 || strings.Contains(strings.Join(after, " "), "one") {
		t.Errorf("snapshots %q, before %q", after, before)
	}
	if _, err := h.ExitRecord("one"); !errdefs.IsNotFound(err) {
		t.Errorf("exit record after removal: %v", err)
	}
	if _, err := h.Container(h.ctx, "one"); !errdefs.IsNotFound(err) {
		t.Errorf("container after removal: %v", err)
	}
}

// The same container runs again and again.
func TestRestart(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("again", "", "busybox", "sh", "-c", "echo x >> /count; exit $(wc -l < /count)")
	for i := 1; i <= 3; i++ {
		h.start("again")
		if x := h.exit("again"); x.Code != i {
			t.Errorf("run %d: code %d", i, x.Code)
		}
		_, _, err := h.DeleteTask(h.ctx, "again")
		h.must(err)
	}
}

// Tasks of a group live in one shim, which ends with the last of them and
// leaves nothing; also when the one that started it goes first.
func TestGroupSharesShim(t *testing.T) {
	h := open(t)
	h.load("busybox")
	const n = 20
	id := func(i int) string { return fmt.Sprintf("c%d", i) }
	for i := range n {
		h.create(id(i), "project", "busybox", "sleep", "1000")
	}
	h.create("lone", "", "busybox", "sleep", "1000")
	h.parallel(n, func(i int) error {
		if _, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: id(i)}); err != nil {
			return err
		}
		return h.StartTask(h.ctx, id(i))
	})
	if got := len(shims(t, h.cfg.State)); got != 1 {
		t.Errorf("%d shims for one group", got)
	}
	h.start("lone")
	if got := len(shims(t, h.cfg.State)); got != 2 {
		t.Errorf("%d shims for a group and a lone container", got)
	}
	tasks, err := h.Tasks(h.ctx)
	h.must(err)
	if len(tasks) != n+1 {
		t.Errorf("%d tasks", len(tasks))
	}
	for _, task := range tasks {
		if task.Status != containerd.Running || task.Pid == 0 {
			t.Errorf("task %+v", task)
		}
	}
	// All are killed at once: nothing may stall.
	h.parallel(n, func(i int) error { return h.Kill(h.ctx, id(i), "", unix.SIGKILL, false) })
	dead := map[string]bool{}
	for len(dead) < n {
		x := h.nextExit(func(x containerd.Exit) bool { return true }, "all to exit")
		if x.Code != 137 {
			t.Errorf("exit %+v", x)
		}
		dead[x.ContainerID] = true
	}
	h.parallel(n, func(i int) error {
		if _, _, err := h.DeleteTask(h.ctx, id(i)); err != nil {
			return err
		}
		return h.DeleteContainer(h.ctx, id(i))
	})
	h.until("the group's shim to end", func() bool { return len(shims(t, h.cfg.State)) == 1 })
	h.kill("lone")
	h.remove("lone")
	h.until("the last shim to end", func() bool { return len(shims(t, h.cfg.State)) == 0 })
	h.nothingLeft()
}

// nothingLeft looks at the state directory after the last task.
func (h *host) nothingLeft() {
	h.t.Helper()
	h.until("the shims' sockets to go", func() bool { return len(names(h.t, filepath.Join(h.cfg.State, "s"))) == 0 })
	for _, dir := range []string{"io.containerd.runtime.v2.task/gantry", "runc/gantry", "mnt", "exits"} {
		if left := names(h.t, filepath.Join(h.cfg.State, dir)); len(left) > 0 {
			h.t.Errorf("left in %s: %q", dir, left)
		}
	}
	if left := names(h.t, filepath.Join(h.cfg.Root, "io.containerd.runtime.v2.task/gantry")); len(left) > 0 {
		h.t.Errorf("left working directories: %q", left)
	}
}

func (h *host) parallel(n int, f func(i int) error) {
	h.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	h.must(errors.Join(errs...))
}

// The shim lives on when the task that started it is deleted, and takes
// further ones; after the last, the next one starts a new shim.
func TestGroupOutlivesItsFirst(t *testing.T) {
	h := open(t)
	h.load("busybox")
	for _, id := range []string{"a", "b", "c"} {
		h.create(id, "p", "busybox", "sleep", "1000")
	}
	h.start("a")
	first := shims(t, h.cfg.State)
	h.start("b")
	h.kill("a")
	h.remove("a")
	h.start("c")
	if now := shims(t, h.cfg.State); len(now) != 1 || now[0] != first[0] {
		t.Errorf("shims %v, at first %v", now, first)
	}
	for _, id := range []string{"b", "c"} {
		h.kill(id)
		h.remove(id)
	}
	h.create("d", "p", "busybox", "true")
	h.start("d")
	h.exit("d")
	h.remove("d")
	h.until("the shims to end", func() bool { return len(shims(t, h.cfg.State)) == 0 })
	h.nothingLeft()
}

// A task that cannot be created leaves nothing, and the group works on.
func TestFailedCreate(t *testing.T) {
	h := open(t)
	h.load("busybox")
	for _, group := range []string{"", "p"} {
		h.create("bad", group, "busybox", "/no/such/program")
		_, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: "bad"})
		if err == nil || !strings.Contains(err.Error(), "/no/such/program") || !strings.Contains(err.Error(), `"bad"`) {
			t.Errorf("group %q: error %v", group, err)
		}
		h.until("the shim to end", func() bool { return len(shims(t, h.cfg.State)) == 0 })
		h.must(h.DeleteContainer(h.ctx, "bad"))
		h.create("good", group, "busybox", "true")
		h.start("good")
		h.exit("good")
		h.remove("good")
	}
	h.until("the shims to end", func() bool { return len(shims(t, h.cfg.State)) == 0 })
	h.nothingLeft()
}

// A killed shim takes its tasks along: that is told as exits, what remains can
// be removed, and the group starts anew.
func TestKilledShim(t *testing.T) {
	h := open(t)
	h.load("busybox")
	for _, id := range []string{"a", "b", "c"} {
		h.create(id, "p", "busybox", "sleep", "1000")
	}
	h.start("a")
	h.start("b")
	for _, pid := range shims(t, h.cfg.State) {
		h.must(unix.Kill(pid, unix.SIGKILL))
	}
	dead := map[string]int{}
	for len(dead) < 2 {
		x := h.nextExit(func(x containerd.Exit) bool { return true }, "exits after the shim was killed")
		dead[x.ContainerID] = x.Code
	}
	if dead["a"] != 137 || dead["b"] != 137 {
		t.Errorf("exit codes %v", dead)
	}
	if _, _, err := h.DeleteTask(h.ctx, "a"); err != nil && !errdefs.IsNotFound(err) {
		t.Errorf("deleting a task of a dead shim: %v", err)
	}
	h.start("c")
	h.start("a")
	if got := len(shims(t, h.cfg.State)); got != 1 {
		t.Errorf("%d shims", got)
	}
	for _, id := range []string{"a", "c"} {
		h.kill(id)
		h.remove(id)
	}
	if _, _, err := h.DeleteTask(h.ctx, "b"); !errdefs.IsNotFound(err) {
		t.Errorf("deleting a task of a dead shim: %v", err)
	}
	h.must(h.DeleteContainer(h.ctx, "b"))
	h.until("the shims to end", func() bool { return len(shims(t, h.cfg.State)) == 0 })
	h.must(h.Sweep(h.ctx, func(string) bool { return true })) // the dead shim's socket
	h.nothingLeft()
}

func TestErrors(t *testing.T) {
	h := open(t)
	h.load("busybox")
	if _, err := h.PrepareRoot(h.ctx, "x", "nothing"); !errdefs.IsNotFound(err) {
		t.Errorf("root of a missing image: %v", err)
	}
	if _, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: "x"}); !errdefs.IsNotFound(err) {
		t.Errorf("task of a missing container: %v", err)
	}
	if err := h.StartTask(h.ctx, "x"); !errdefs.IsNotFound(err) {
		t.Errorf("starting a missing container: %v", err)
	}
	h.create("x", "", "busybox", "sleep", "1000")
	if _, err := h.PrepareRoot(h.ctx, "x", "busybox"); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second root: %v", err)
	}
	if err := h.CreateContainer(h.ctx, containerd.ContainerSpec{ID: "x", Spec: spec("x", "true")}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second container: %v", err)
	}
	if _, _, err := h.DeleteTask(h.ctx, "x"); !errdefs.IsNotFound(err) {
		t.Errorf("deleting no task: %v", err)
	}
	h.start("x")
	if _, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: "x"}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second task: %v", err)
	}
	if _, _, err := h.DeleteTask(h.ctx, "x"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("deleting a running task: %v", err)
	}
	if err := h.DeleteContainer(h.ctx, "x"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("deleting a running container: %v", err)
	}
	h.kill("x")
	if err := h.Kill(h.ctx, "x", "", unix.SIGTERM, false); !errdefs.IsNotFound(err) {
		t.Errorf("killing a dead container: %v", err)
	}
	h.remove("x")
}

// A task that was never started can be deleted.
func TestDeleteCreated(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("x", "p", "busybox", "sleep", "1000")
	_, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: "x"})
	h.must(err)
	task, err := h.Task(h.ctx, "x")
	h.must(err)
	if task.Status != containerd.Created {
		t.Errorf("task %+v", task)
	}
	h.remove("x")
	h.until("the shim to end", func() bool { return len(shims(t, h.cfg.State)) == 0 })
	h.nothingLeft()
}

func TestExec(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("x", "p", "busybox", "sleep", "1000")
	h.start("x")
	out := filepath.Join(t.TempDir(), "out")
	process := func(args ...string) *specs.Process {
		return &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}}
	}
	h.must(h.Exec(h.ctx, containerd.ExecOptions{ContainerID: "x", ExecID: "e1", Process: process("sh", "-c", "echo hello; exit 3"), Stdout: "file://" + out, Stderr: "file://" + out}))
	pid, err := h.StartExec(h.ctx, "x", "e1")
	h.must(err)
	x := h.nextExit(func(x containerd.Exit) bool { return x.ExecID == "e1" }, "exec to end")
	if x.Code != 3 || x.Pid != pid || x.ContainerID != "x" {
		t.Errorf("exit %+v of pid %d", x, pid)
	}
	code, _, err := h.DeleteExec(h.ctx, "x", "e1")
	h.must(err)
	b, err := os.ReadFile(out)
	h.must(err)
	if code != 3 || string(b) != "hello\n" {
		t.Errorf("code %d, output %q", code, b)
	}
	h.must(h.Exec(h.ctx, containerd.ExecOptions{ContainerID: "x", ExecID: "e2", Process: process("sleep", "1000")}))
	_, err = h.StartExec(h.ctx, "x", "e2")
	h.must(err)
	if s, err := h.ExecStatus(h.ctx, "x", "e2"); err != nil || s.Status != containerd.Running {
		t.Errorf("status %+v: %v", s, err)
	}
	if pids, err := h.Pids(h.ctx, "x"); err != nil || len(pids) != 2 {
		t.Errorf("processes %v: %v", pids, err)
	}
	h.must(h.Kill(h.ctx, "x", "e2", unix.SIGTERM, false))
	if x := h.nextExit(func(x containerd.Exit) bool { return x.ExecID == "e2" }, "exec to end"); x.Code != 143 {
		t.Errorf("exit %+v", x)
	}
	_, _, err = h.DeleteExec(h.ctx, "x", "e2")
	h.must(err)
	if _, err := h.ExecStatus(h.ctx, "x", "e2"); !errdefs.IsNotFound(err) {
		t.Errorf("status after deletion: %v", err)
	}
	h.kill("x")
	h.remove("x")
}

func TestPauseStatsUpdate(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("x", "", "busybox", "sleep", "1000")
	h.start("x")
	h.must(h.Pause(h.ctx, "x"))
	if task, err := h.Task(h.ctx, "x"); err != nil || task.Status != containerd.Paused {
		t.Errorf("paused: %+v: %v", task, err)
	}
	h.must(h.Resume(h.ctx, "x"))
	if task, err := h.Task(h.ctx, "x"); err != nil || task.Status != containerd.Running {
		t.Errorf("resumed: %+v: %v", task, err)
	}
	max, pids := int64(64<<20), int64(50)
	h.must(h.Update(h.ctx, "x", &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &max}, Pids: &specs.LinuxPids{Limit: &pids}}))
	s, err := h.Stats(h.ctx, "x")
	h.must(err)
	if s.Memory.Limit != uint64(max) || s.Pids.Limit != 50 || s.Pids.Current != 1 || s.Memory.Usage == 0 || s.CPU.Total == 0 || s.At.IsZero() {
		t.Errorf("stats %+v", s)
	}
	h.kill("x")
	h.remove("x")
}
