package containerd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"gantry/containerd"
	"gantry/tests/busybox"
)

// shimPackage is the real shim.
const shimPackage = "gantry/cmd/gantry-shim"

var shimPath string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		child(os.Args[2:])
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gantry-shim")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shimPath = filepath.Join(dir, "gantry-shim")
	if out, err := exec.Command("go", "build", "-o", shimPath, shimPackage).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the shim: %v: %s\n", err, out)
		return 1
	}
	return m.Run()
}

// bound is how long a test waits for what must come.
const bound = 30 * time.Second

// host is a runtime with roots of its own, and what the test observes there.
type host struct {
	*containerd.Runtime
	t   *testing.T
	cfg containerd.Config
	ctx context.Context
	out <-chan containerd.Exit
}

func config(t *testing.T) containerd.Config {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "gt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, dir) })
	t.Cleanup(func() { noCgroups(t) })
	return containerd.Config{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "s"), ShimPath: shimPath}
}

// removeAll removes a host's directories and complains about anything that is
// still mounted there, or still lives there.
func removeAll(t *testing.T, dir string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); strings.HasPrefix(f[1], dir+"/") {
			t.Errorf("left mounted: %s", f[1])
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
	for _, pid := range shims(t, dir) {
		t.Errorf("shim %d still runs", pid)
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// noCgroups complains about cgroups that are left of the tests' containers.
func noCgroups(t *testing.T) {
	for _, pattern := range []string{"/sys/fs/cgroup/gantry-test-*", "/sys/fs/cgroup/*/gantry-test-*"} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			t.Error(err)
		}
		for _, dir := range left {
			t.Errorf("left cgroup %s", dir)
			_ = os.Remove(dir)
		}
	}
}

func open(t *testing.T) *host {
	t.Helper()
	return openConfig(t, config(t))
}

func openConfig(t *testing.T, cfg containerd.Config) *host {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	r, err := containerd.Open(ctx, cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	h := &host{Runtime: r, t: t, cfg: cfg, ctx: ctx, out: r.Exits(ctx)}
	t.Cleanup(func() {
		defer cancel()
		h.close()
	})
	return h
}

// close removes everything and waits until the shims have ended.
func (h *host) close() {
	h.t.Helper()
	if h.Runtime == nil {
		return
	}
	if err := h.Sweep(h.ctx, func(string) bool { return false }); err != nil {
		h.t.Error(err)
	}
	h.until("the shims to end", func() bool { return len(shims(h.t, h.cfg.State)) == 0 })
	h.leave()
}

// leave closes the runtime and lets containers run.
func (h *host) leave() {
	h.t.Helper()
	if err := h.Close(h.ctx); err != nil {
		h.t.Error(err)
	}
	h.Runtime = nil
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// until waits for something that gives no event: a process's end, a file.
func (h *host) until(what string, done func() bool) {
	h.t.Helper()
	end := time.Now().Add(bound)
	for !done() {
		if time.Now().After(end) {
			h.t.Fatalf("waited %s for %s", bound, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// shims lists the shims whose working directory or socket lies below dir.
func shims(t *testing.T, dir string) []int {
	t.Helper()
	var out []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		args := strings.Split(string(b), "\x00")
		if len(args) > 1 && args[0] == shimPath && strings.Contains(string(b), dir+"/") {
			out = append(out, pid)
		}
	}
	return out
}

func (h *host) load(ref string, opts ...busybox.Option) *containerd.Image {
	h.t.Helper()
	var b bytes.Buffer
	h.must(busybox.Archive(&b, ref, opts...))
	_, err := h.Load(h.ctx, &b, containerd.LoadOptions{})
	h.must(err)
	img, err := h.Image(h.ctx, ref)
	h.must(err)
	return img
}

// spec is the least that runc needs.
func spec(id string, args ...string) *specs.Spec {
	return &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Args: args, Cwd: "/", Env: []string{"PATH=/bin"},
			Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL", "CAP_DAC_OVERRIDE"}, Effective: []string{"CAP_KILL", "CAP_DAC_OVERRIDE"}, Permitted: []string{"CAP_KILL", "CAP_DAC_OVERRIDE"}},
		},
		Root: &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=65536k"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/gantry-test-" + id,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace},
			},
		},
	}
}

func (h *host) create(id, group, image string, args ...string) {
	h.t.Helper()
	_, err := h.PrepareRoot(h.ctx, id, image)
	h.must(err)
	h.must(h.CreateContainer(h.ctx, containerd.ContainerSpec{ID: id, Image: image, Group: group, Spec: spec(id, args...)}))
}

func (h *host) start(id string) int {
	h.t.Helper()
	pid, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: id})
	h.must(err)
	h.must(h.StartTask(h.ctx, id))
	return pid
}

// exit waits for the next exit of a container's own process.
func (h *host) exit(id string) containerd.Exit {
	h.t.Helper()
	return h.nextExit(func(x containerd.Exit) bool { return x.ContainerID == id && x.ExecID == "" }, "container "+id+" to exit")
}

func (h *host) nextExit(want func(containerd.Exit) bool, what string) containerd.Exit {
	h.t.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	for {
		select {
		case x, ok := <-h.out:
			if !ok {
				h.t.Fatalf("no more exits while waiting for %s", what)
			}
			if want(x) {
				return x
			}
		case <-timer.C:
			h.t.Fatalf("waited %s for %s", bound, what)
		}
	}
}

func (h *host) kill(id string) {
	h.t.Helper()
	h.must(h.Kill(h.ctx, id, "", unix.SIGKILL, false))
	h.exit(id)
}

func (h *host) remove(id string) {
	h.t.Helper()
	_, _, err := h.DeleteTask(h.ctx, id)
	h.must(err)
	h.must(h.DeleteContainer(h.ctx, id))
}

// read returns a file of a container's file system.
func (h *host) read(id, path string) string {
	h.t.Helper()
	var b []byte
	h.must(h.MountRoot(h.ctx, id, func(root string) (err error) {
		b, err = os.ReadFile(filepath.Join(root, path))
		return err
	}))
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
