package containerd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"gantry/containerd"
)

func TestOpenRefusesBadConfig(t *testing.T) {
	good := config(t)
	for name, change := range map[string]func(*containerd.Config){
		"relative root": func(c *containerd.Config) { c.Root = "x" },
		"long state":    func(c *containerd.Config) { c.State = "/" + strings.Repeat("x", 40) },
		"no shim":       func(c *containerd.Config) { c.ShimPath = "gantry-shim" },
		"log level":     func(c *containerd.Config) { c.LogLevel = "loud" },
	} {
		cfg := good
		change(&cfg)
		r, err := containerd.Open(t.Context(), cfg)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			r.Close(t.Context())
		}
	}
}

func TestRootIsTaken(t *testing.T) {
	h := open(t)
	second := config(t)
	second.Root = h.cfg.Root
	r, err := containerd.Open(h.ctx, second)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), h.cfg.Root) {
		t.Errorf("a root that is taken: %v", err)
	}
	if err == nil {
		h.must(r.Close(h.ctx))
	}
	h.leave()
	r, err = containerd.Open(t.Context(), second)
	if err != nil {
		t.Fatalf("a root that was left: %v", err)
	}
	h.must(r.Close(t.Context()))
}

// After a reboot, which empties the state directory, containers are there
// without tasks, and start again.
func TestReboot(t *testing.T) {
	cfg := config(t)
	cmd := spawn(t, "stack", cfg, func(line string) bool { return line == "ready" })
	ids := []string{"a", "b", "c"}
	pids := shims(t, cfg.State)
	for _, id := range ids {
		pids = append(pids, initPid(t, cfg, id))
	}
	murder(t, cmd)
	h := &host{t: t, cfg: cfg}
	for _, id := range ids {
		count := filepath.Join(cfg.State, "io.containerd.runtime.v2.task/gantry", id, "rootfs/count")
		h.until("the container to count", func() bool { b, _ := os.ReadFile(count); return string(b) == "x\n" })
	}
	for _, pid := range pids {
		h.must(unix.Kill(pid, unix.SIGKILL))
	}
	h.until("all to be dead", func() bool { return len(shims(t, cfg.State)) == 0 })
	for _, id := range ids {
		h.must(unix.Unmount(filepath.Join(cfg.State, "io.containerd.runtime.v2.task/gantry", id, "rootfs"), 0))
	}
	h.until("their cgroups to be empty", func() bool {
		noCgroupsQuietly()
		left, _ := filepath.Glob("/sys/fs/cgroup/*/gantry-test-[abc]")
		return len(left) == 0
	})
	h.must(os.RemoveAll(cfg.State))
	h = openConfig(t, cfg)
	if tasks, err := h.Tasks(h.ctx); err != nil || len(tasks) > 0 {
		t.Errorf("tasks %+v: %v", tasks, err)
	}
	h.must(h.Sweep(h.ctx, func(string) bool { return true }))
	for _, id := range ids {
		h.start(id)
		h.until("the container to count again", func() bool { return h.holds(id, "count", "x\nx\n") })
	}
	if n := len(shims(t, cfg.State)); n != 1 {
		t.Errorf("%d shims", n)
	}
}

// holds tells whether a file of a container's file system has this content.
func (h *host) holds(id, path, content string) bool {
	h.t.Helper()
	var b []byte
	h.must(h.MountRoot(h.ctx, id, func(root string) error {
		b, _ = os.ReadFile(filepath.Join(root, path))
		return nil
	}))
	return string(b) == content
}

// noCgroupsQuietly removes the cgroups of containers that a reboot would have.
func noCgroupsQuietly() {
	left, _ := filepath.Glob("/sys/fs/cgroup/*/gantry-test-[abc]")
	for _, dir := range left {
		_ = os.Remove(dir)
	}
}

// Two of them, also in one process, do not know of each other; their
// containers may even have the same names.
func TestTwoRuntimes(t *testing.T) {
	one, two := open(t), open(t)
	for _, h := range []*host{one, two} {
		h.load("busybox")
		_, err := h.PrepareRoot(h.ctx, "same", "busybox")
		h.must(err)
		s := spec("same", "sleep", "1000")
		s.Linux.CgroupsPath += filepath.Base(filepath.Dir(h.cfg.State))
		h.must(h.CreateContainer(h.ctx, containerd.ContainerSpec{ID: "same", Group: "p", Spec: s}))
		h.start("same")
	}
	one.kill("same")
	one.remove("same")
	task, err := two.Task(two.ctx, "same")
	two.must(err)
	if task.Status != containerd.Running {
		t.Errorf("the other's task %+v", task)
	}
	one.close()
	two.load("later")
	two.kill("same")
	two.remove("same")
}

// Closing leaves containers running; the next to open has everything.
func TestReopen(t *testing.T) {
	cfg := config(t)
	h := openConfig(t, cfg)
	img := h.load("busybox")
	h.create("x", "p", "busybox", "sleep", "1000")
	pid := h.start("x")
	h.leave()
	h = openConfig(t, cfg)
	task, err := h.Task(h.ctx, "x")
	h.must(err)
	if task.Status != containerd.Running || task.Pid != pid {
		t.Errorf("task %+v, want %d running", task, pid)
	}
	got, err := h.Image(h.ctx, "busybox")
	h.must(err)
	if got.ID != img.ID || got.Size != img.Size {
		t.Errorf("image %+v, was %+v", got, img)
	}
	h.create("y", "p", "busybox", "sleep", "1000")
	h.start("y")
	if n := len(shims(t, cfg.State)); n != 1 {
		t.Errorf("%d shims", n)
	}
	for _, id := range []string{"x", "y"} {
		h.kill(id)
		h.remove(id)
	}
}

// A containerd that runs elsewhere serves as well.
func TestOutsideContainerd(t *testing.T) {
	theirs := config(t)
	spawn(t, "serve", theirs, func(line string) bool { return line == "ready" })
	cfg := config(t)
	cfg.Address = filepath.Join(theirs.State, "c.sock")
	h := openConfig(t, cfg)
	h.load("busybox")
	for _, id := range []string{"a", "b"} {
		h.create(id, "p", "busybox", "sh", "-c", "sleep 1000 & wait")
		h.start(id)
	}
	if n := len(shims(t, theirs.State)); n != 1 {
		t.Errorf("%d shims for one group", n)
	}
	h.kill("a")
	rec, err := h.ExitRecord("a")
	h.must(err)
	if rec.Code != 137 {
		t.Errorf("exit record %+v", rec)
	}
	h.must(h.MountRoot(h.ctx, "b", func(root string) error {
		if !strings.HasPrefix(root, theirs.State) {
			t.Errorf("the running container's root is %q", root)
		}
		_, err := os.Stat(filepath.Join(root, "bin/busybox"))
		return err
	}))
	h.leave()
	h = openConfig(t, cfg)
	h.create("c", "p", "busybox", "sleep", "1000")
	h.start("c")
	if n := len(shims(t, theirs.State)); n != 1 {
		t.Errorf("%d shims after coming back", n)
	}
	h.must(h.Sweep(h.ctx, func(string) bool { return false }))
	h.until("their shims to end", func() bool { return len(shims(t, theirs.State)) == 0 })
}

func TestDiskUsageAndMount(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.create("x", "", "busybox", "true")
	before, err := h.DiskUsage(h.ctx, "x")
	h.must(err)
	h.must(h.MountRoot(h.ctx, "x", func(root string) error {
		return os.WriteFile(filepath.Join(root, "big"), []byte(noise(1<<20)), 0o600)
	}))
	after, err := h.DiskUsage(h.ctx, "x")
	h.must(err)
	if after-before < 1<<20 {
		t.Errorf("%d bytes, before %d", after, before)
	}
	if _, err := h.DiskUsage(h.ctx, "none"); !errdefs.IsNotFound(err) {
		t.Errorf("usage of no container: %v", err)
	}
	if left := names(t, filepath.Join(h.cfg.State, "mnt")); len(left) > 0 {
		t.Errorf("left mounted %q", left)
	}
}

// The kernel's kill for lack of memory is told, and with the exit.
func TestOutOfMemory(t *testing.T) {
	h := open(t)
	h.load("busybox")
	_, err := h.PrepareRoot(h.ctx, "x", "busybox")
	h.must(err)
	s := spec("x", "sh", "-c", "exec tail /dev/zero")
	max := int64(16 << 20)
	s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &max, Swap: &max}}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/zero", Type: "bind", Source: "/dev/zero", Options: []string{"bind"}})
	h.must(h.CreateContainer(h.ctx, containerd.ContainerSpec{ID: "x", Spec: s}))
	h.start("x")
	x := h.exit("x")
	if x.Code != 137 || !x.OOMKilled {
		t.Errorf("exit %+v", x)
	}
	if o := <-h.OOMs(h.ctx); o.ContainerID != "x" || o.At.IsZero() {
		t.Errorf("told %+v", o)
	}
	h.remove("x")
}
