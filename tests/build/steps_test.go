package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// A step cannot take what the daemon needs to end it, and nothing of it stays.
func TestStepsAreBoundedAndEnd(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	for _, network := range []string{"default", "host", "none"} {
		r := d.DockerInput("FROM "+image+"\nRUN (sleep 3273 &); (setsid sleep 3273 > /dev/null 2>&1 &); echo limit=$(cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null)\n",
			"build", "--progress", "plain", "--no-cache", "--network", network, "-t", "step", "-")
		text, _, _ := strings.Cut(r.Stderr[strings.LastIndex(r.Stderr, "limit=")+len("limit="):], "\n")
		if n, err := strconv.Atoi(text); r.Code != 0 || err != nil || n < 100 || n > 16384 {
			t.Errorf("%s: a step has %q tasks: %v", network, text, r)
		}
	}
	if running("3273") {
		t.Error("what a step has left in the background runs on")
	}
	harness.Eventually(t, "the cgroup of steps is gone", func() error {
		for _, pattern := range []string{"/sys/fs/cgroup/gantry-%s/buildkit", "/sys/fs/cgroup/*/gantry-%s/buildkit"} {
			if left, _ := filepath.Glob(fmt.Sprintf(pattern, d.Instance())); len(left) > 0 {
				return fmt.Errorf("%q", left)
			}
		}
		return nil
	})
	d.MustDocker("image", "rm", "step")
	d.MustDocker("image", "prune", "-f")
}

// What a step prints without end or line end is cut, and fills no memory.
func TestEndlessOutput(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("lines/Dockerfile", "FROM "+image+"\nRUN yes | head -n 1000000; echo the last line; false\n")
	d.Write("line/Dockerfile", "FROM "+image+"\nRUN head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the last line; false\n")
	dir := d.Project("shop", "name: shop\nservices:\n  web: {build: ../line}\n")
	for _, r := range []harness.Result{d.FailDocker("build", "--progress", "plain", "lines"), d.FailDocker("build", "--progress", "plain", "line")} {
		if !strings.Contains(r.Stderr, "output clipped") || len(r.Stderr) > 6<<20 {
			t.Errorf("%q printed %d bytes: %.2000s", r.Args, len(r.Stderr), r.Stderr)
		}
	}
	if r := d.Fail(dir, "up", "-d"); !strings.Contains(r.Stderr, "the last line") || len(r.Stderr) > 50_000 {
		t.Errorf("up printed %d bytes: %.2000s", len(r.Stderr), r.Stderr)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	if kb, err := strconv.Atoi(strings.Fields(peak)[0]); err != nil || kb > 400_000 {
		t.Errorf("the daemon took %d kB of memory, %v", kb, err)
	}
}
