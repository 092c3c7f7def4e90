package containerd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gantry/containerd"
	"gantry/tests/busybox"
)

// childArg makes the test binary another process with a runtime of its own,
// which the test can kill.
const childArg = "-containerd-child"

// child opens a runtime and does what args[0] says, a line of output for every
// step, until it is killed or its input ends.
func child(args []string) {
	if err := childMain(args[0], []byte(args[1])); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func childMain(mode string, conf []byte) error {
	var cfg containerd.Config
	if err := json.Unmarshal(conf, &cfg); err != nil {
		return err
	}
	ctx := context.Background()
	r, err := containerd.Open(ctx, cfg)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := busybox.Archive(&b, "busybox"); err != nil {
		return err
	}
	if _, err := r.Load(ctx, &b, containerd.LoadOptions{}); err != nil {
		return err
	}
	up := func(id string, args ...string) error {
		if _, err := r.PrepareRoot(ctx, id, "busybox"); err != nil {
			return err
		}
		fmt.Println("prepared", id)
		if err := r.CreateContainer(ctx, containerd.ContainerSpec{ID: id, Image: "busybox", Group: "p", Spec: spec(id, args...)}); err != nil {
			return err
		}
		fmt.Println("made", id)
		if _, err := r.CreateTask(ctx, containerd.TaskOptions{ContainerID: id}); err != nil {
			return err
		}
		fmt.Println("created", id)
		if err := r.StartTask(ctx, id); err != nil {
			return err
		}
		fmt.Println("started", id)
		return nil
	}
	switch mode {
	case "serve": // only be a containerd for others
	case "stack":
		for _, id := range []string{"a", "b", "c"} {
			if err := up(id, "sh", "-c", "trap 'exit 5' TERM; echo x >> /count; sleep 1000 & wait"); err != nil {
				return err
			}
		}
	case "storm":
		errs := make(chan error)
		for w := range 3 {
			go func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("w%d-%d", w, i)
					if err := up(id, "sleep", "1000"); err != nil {
						errs <- err
						return
					}
				}
			}()
		}
		return <-errs
	}
	fmt.Println("ready")
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

// spawn starts a child and returns it once a line of its output satisfies
// enough.
func spawn(t *testing.T, mode string, cfg containerd.Config, enough func(line string) bool) *exec.Cmd {
	t.Helper()
	conf, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", childArg, mode, string(conf))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error:") {
			t.Fatalf("child: %s", lines.Text())
		}
		if enough(lines.Text()) {
			return cmd
		}
	}
	t.Fatalf("the child ended: %v", lines.Err())
	return nil
}

func murder(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

// Containers outlive a killed daemon; what ended meanwhile has its exit code,
// and the group's shim takes further tasks.
func TestKilledDaemon(t *testing.T) {
	cfg := config(t)
	cmd := spawn(t, "stack", cfg, func(line string) bool { return line == "ready" })
	before := shims(t, cfg.State)
	pids := map[string]int{}
	for _, id := range []string{"a", "b", "c"} {
		pids[id] = initPid(t, cfg, id)
	}
	murder(t, cmd)
	if err := unix.Kill(pids["a"], unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, cfg: cfg}
	record := cfg.State + "/exits/a.json"
	h.until("the exit to be recorded", func() bool { _, err := os.Stat(record); return err == nil })

	h = openConfig(t, cfg)
	rec, err := h.ExitRecord("a")
	h.must(err)
	if rec.Code != 5 || rec.Pid != pids["a"] {
		t.Errorf("exit record %+v, want code 5 of %d", rec, pids["a"])
	}
	for _, id := range []string{"b", "c"} {
		task, err := h.Task(h.ctx, id)
		h.must(err)
		if task.Status != containerd.Running || task.Pid != pids[id] {
			t.Errorf("task %+v, want %d running", task, pids[id])
		}
	}
	if task, err := h.Task(h.ctx, "a"); err == nil && task.Status != containerd.Stopped {
		t.Errorf("task %+v", task)
	}
	h.create("d", "p", "busybox", "sleep", "1000")
	h.start("d")
	if now := shims(t, cfg.State); len(now) != 1 || now[0] != before[0] {
		t.Errorf("shims %v, before %v", now, before)
	}
	h.kill("b")
	h.remove("b")
	h.must(h.Sweep(h.ctx, func(string) bool { return false }))
	h.until("the shim to end", func() bool { return len(shims(t, cfg.State)) == 0 })
	h.nothingLeft()
}

func initPid(t *testing.T, cfg containerd.Config, id string) int {
	t.Helper()
	b, err := os.ReadFile(cfg.State + "/runc/gantry/" + id + "/state.json")
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Pid int `json:"init_process_pid"`
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Pid == 0 {
		t.Fatalf("runc's state of %s: %v", id, err)
	}
	return s.Pid
}

// Wherever a process is killed: the next one finds its way, and a sweep leaves
// nothing of what was half done.
func TestKilledAnywhere(t *testing.T) {
	for _, stop := range []string{"prepared w0-0", "made w1-0", "prepared w2-1", "created w0-2", "started w1-3"} {
		t.Run(stop, func(t *testing.T) {
			cfg := config(t)
			murder(t, spawn(t, "storm", cfg, func(line string) bool { return line == stop }))
			h := openConfig(t, cfg)
			tasks, err := h.Tasks(h.ctx)
			h.must(err)
			for _, task := range tasks {
				if task.Pid == 0 {
					t.Errorf("task %+v", task)
				}
			}
			h.must(h.Sweep(h.ctx, func(string) bool { return false }))
			h.until("the shims to end", func() bool { return len(shims(t, cfg.State)) == 0 })
			h.nothingLeft()
			keys, err := h.Snapshots(h.ctx)
			h.must(err)
			for _, key := range keys {
				if !strings.HasPrefix(key, "sha256:") {
					t.Errorf("left snapshot %q", key)
				}
			}
			list, err := h.Containers(h.ctx)
			h.must(err)
			if len(list) > 0 {
				t.Errorf("left containers %v", list)
			}
			h.create("new", "p", "busybox", "true")
			h.start("new")
			h.exit("new")
			h.remove("new")
		})
	}
}

// What a task's interrupted creation or deletion leaves is not in the way of
// the next one of the same container.
func TestSweepHalfMadeTask(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("x", "p", "busybox", "true")
	bundle := h.cfg.State + "/io.containerd.runtime.v2.task/gantry/"
	for _, dir := range []string{bundle + "x/rootfs/proc", bundle + ".x/rootfs", h.cfg.Root + "/io.containerd.runtime.v2.task/gantry/x"} {
		h.must(os.MkdirAll(dir, 0o700))
	}
	h.must(h.Sweep(h.ctx, func(string) bool { return true }))
	h.nothingLeft()
	h.start("x")
	if x := h.exit("x"); x.Code != 0 {
		t.Errorf("exit %+v", x)
	}
	h.remove("x")
}

// Sweep removes only what is not to be kept.
func TestSweepKeeps(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("kept", "p", "busybox", "sleep", "1000")
	h.create("gone", "p", "busybox", "sleep", "1000")
	_, err := h.PrepareRoot(h.ctx, "orphan", "busybox")
	h.must(err)
	h.start("kept")
	h.start("gone")
	h.must(h.Sweep(h.ctx, func(id string) bool { return id == "kept" }))
	task, err := h.Task(h.ctx, "kept")
	h.must(err)
	if task.Status != containerd.Running {
		t.Errorf("kept: %+v", task)
	}
	list, err := h.Containers(h.ctx)
	h.must(err)
	if len(list) != 1 || list[0].ID != "kept" {
		t.Errorf("containers %v", list)
	}
	keys, err := h.Snapshots(h.ctx)
	h.must(err)
	if got := strings.Join(keys, " "); strings.Contains(got, "gone") || strings.Contains(got, "orphan") || !strings.Contains(got, "kept") {
		t.Errorf("snapshots %q", keys)
	}
	h.kill("kept")
	h.remove("kept")
}
