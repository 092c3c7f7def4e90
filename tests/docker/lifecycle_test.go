package docker_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/harness"
)

// What clients and scripts match on are Docker's own words and exit codes.
func TestRefusalsAndExitCodesAreDockers(t *testing.T) {
	t.Parallel()
	d := start(t)
	refused := func(want string, args ...string) {
		t.Helper()
		if r := d.FailDocker(args...); !strings.Contains(r.Stderr, want) {
			t.Errorf("want %q: %v", want, r)
		}
	}
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "one", image, "sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.02; done"))
	refused(`cannot remove container "/one": container is running: stop the container before removing or force remove`, "rm", "one")
	refused("Container "+id+" is not paused", "unpause", "one")
	d.MustDocker("start", "one") // runs: nothing to do
	d.MustDocker("pause", "one")
	refused("cannot start a paused container, try unpause instead", "start", "one")
	refused(`cannot remove container "/one": container is paused: unpause and then stop the container before removing or force remove`, "rm", "one")
	refused("Container "+id+" is already paused", "pause", "one")
	d.MustDocker("unpause", "one")
	d.MustDocker("kill", "-s", "USR1", "one")
	if code := strings.TrimSpace(d.MustDocker("wait", "one")); code != "7" {
		t.Errorf("exit code %s", code)
	}
	refused("container "+id+" is not running", "kill", "one")
	refused("container "+id+" is not running", "pause", "one")
	d.MustDocker("stop", "one") // does not run: nothing to do
	d.MustDocker("start", "one")
	d.MustDocker("stop", "-t", "0", "one")
	if got := inspect(d, "one", "{{.State.ExitCode}} {{.State.OOMKilled}}"); got != "137 false" {
		t.Errorf("stopped at once: %s", got)
	}
	d.MustDocker("rm", "one")
	refused("No such container: one", "rm", "one")

	for want, args := range map[int][]string{
		125: {"run", "--rm", "--memory", "1", image, "true"},
		126: {"run", "--rm", image, "/etc"},
		127: {"run", "--rm", image, "nope"},
		137: {"run", "--rm", "--init", image, "sh", "-c", "kill -9 $$"},
		143: {"run", "--rm", "--init", image, "sh", "-c", "kill -15 $$"},
		3:   {"run", "--rm", image, "sh", "-c", "exit 3"},
	} {
		if r := d.Docker(args...); r.Code != want {
			t.Errorf("want exit code %d: %v", want, r)
		}
	}

	// one that removes itself: not by a restart, but by its end
	d.MustDocker("run", "-d", "--rm", "--name", "brief", image, "sleep", "1000")
	d.MustDocker("restart", "-t", "0", "brief")
	if got := inspect(d, "brief", "{{.State.Status}}"); got != "running" {
		t.Errorf("restarted: %s", got)
	}
	d.MustDocker("stop", "-t", "0", "brief")
	harness.Eventually(t, "it has removed itself", func() error {
		if ids := d.MustDocker("ps", "-aq"); ids != "" {
			return fmt.Errorf("containers %s", ids)
		}
		return nil
	})

	d.MustDocker("run", "-d", "--name", "tries", "--restart", "on-failure:2", image, "false")
	harness.Eventually(t, "its tries are used up", func() error {
		if got := inspect(d, "tries", "{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}"); got != "exited 2 1" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// After a reboot what has a policy comes back: also when its state is lost, and
// when its port is taken at first. What a person stopped stays so.
func TestRebootBringsSingleContainersBack(t *testing.T) {
	t.Parallel()
	d := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().String()
	l.Close()
	d.MustDocker("run", "-d", "--restart", "always", "--name", "port", "-p", port+":80", image, "sleep", "1000")
	lost := strings.TrimSpace(d.MustDocker("run", "-d", "--restart", "unless-stopped", "--name", "lost", image, "sleep", "1000"))
	d.MustDocker("run", "-d", "--restart", "unless-stopped", "--name", "stopped", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "plain", image, "sleep", "1000")
	d.MustDocker("stop", "-t", "0", "stopped")
	d.Reboot()
	if err := os.Truncate(filepath.Join(d.Data(), "containers", lost, "state.json"), 0); err != nil {
		t.Fatal(err)
	}
	if l, err = net.Listen("tcp", port); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d.Launch()
	is := func(name, want string) {
		t.Helper()
		harness.Eventually(t, name+" is "+want, func() error {
			if got := inspect(d, name, "{{.State.Status}} {{.State.ExitCode}}"); got != want {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	is("lost", "running 0")
	is("stopped", "exited 137")
	is("plain", "exited 255")
	is("port", "restarting 128")
	l.Close()
	is("port", "running 0")
}

// Single containers share a shim. One that is killed takes them with it, and
// their policies bring them back; one that is idle outlives no daemon for long.
func TestSharedShim(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "plain", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "again", "--restart", "always", image, "sleep", "1000")
	shims := d.Shims()
	if len(shims) != 1 {
		t.Fatalf("shims %v of two containers", shims)
	}
	if err := syscall.Kill(shims[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the one with a policy is back", func() error {
		got := inspect(d, "plain", "{{.State.Status}} {{.State.ExitCode}}") + ", " + inspect(d, "again", "{{.State.Status}} {{.RestartCount}}")
		if got != "exited 137, running 1" {
			return fmt.Errorf("they are %s", got)
		}
		return nil
	})
	d.MustDocker("rm", "-f", "plain", "again")
	d.MustDocker("run", "--rm", image, "true")
	d.Stop()
	if left := d.Shims(); len(left) > 0 {
		t.Errorf("a daemon that stopped left idle shims %v", left)
	}
	d.Launch()
	d.MustDocker("run", "--rm", image, "true")
	d.Kill9()
	d.Launch()
	if left := d.Shims(); len(left) > 0 {
		t.Errorf("idle shims of a killed daemon %v", left)
	}
	d.NoLeaks()
}
