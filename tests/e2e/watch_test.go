package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gantry/tests/harness"
)

const watched = `
name: dev
services:
  app:
    build: .
    command: [sleep, "1000"]
    init: true
    user: "7"
    develop:
      watch:
        - {path: ./src, action: sync, target: /app/src, ignore: [skipped], initial_sync: true}
        - {path: ./Dockerfile, action: rebuild}
        - {path: ./app.conf, action: sync+restart, target: /etc/app.conf}
        - {path: ./hook, action: sync+exec, target: /hook, exec: {command: [sh, -c, "cat /hook >/ran"], user: root}}
`

// output takes what a command writes while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// begin runs a command in the background until the test ends it.
func begin(d *harness.Daemon, dir string, args ...string) (*exec.Cmd, *output) {
	d.T.Helper()
	cmd, out := d.Command(dir, args...), &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, out
}

func says(out *output, want string) func() error {
	return func() error {
		if got := out.String(); !strings.Contains(got, want) {
			return fmt.Errorf("it says:\n%s", got)
		}
		return nil
	}
}

func TestWatchBringsChangesIntoContainers(t *testing.T) {
	t.Parallel()
	for _, verb := range [][]string{{"watch"}, {"up", "--watch"}} {
		t.Run(verb[0], func(t *testing.T) {
			t.Parallel()
			d := builder(t)
			dir := d.Project("dev", watched, "Dockerfile", "FROM busybox:test\nRUN echo one >/built\n", "src/a", "first\n",
				"app.conf", "x=1\n", "hook", "none\n", ".dockerignore", "**/*.log\n")
			cmd, out := begin(d, dir, verb...)
			harness.Eventually(t, "it watches", says(out, "Watch enabled"))
			eventually := func(what, script, want string) {
				t.Helper()
				harness.Eventually(t, what, func() error {
					r := d.Gantry(dir, "exec", "-T", "app", "sh", "-c", script)
					if r.Stdout != want {
						return fmt.Errorf("%q (%s), want %q; it says:\n%s", r.Stdout, r.Stderr, want, out)
					}
					return nil
				})
			}
			eventually("the initial sync", "cat /app/src/a", "first\n")
			before := ids(d, dir)["dev-app-1"]
			d.Write("dev/src/sub/b", "new\n")
			d.Write("dev/src/skipped/c", "no\n")
			d.Write("dev/src/x.log", "no\n")
			d.Write("dev/src/a", "second\n")
			eventually("files that changed or are new", "cat /app/src/a /app/src/sub/b; ls /app/src", "second\nnew\na\nsub\n")
			if err := errors.Join(os.RemoveAll(dir+"/src/sub"), os.Rename(dir+"/src/a", dir+"/src/z")); err != nil {
				t.Fatal(err)
			}
			eventually("files that are gone", "ls /app/src", "z\n")
			if err := os.Remove(dir + "/src/z"); err != nil {
				t.Fatal(err)
			}
			d.Write("dev/src/z/in/it", "deep\n")
			eventually("a directory in a file's place", "cat /app/src/z/in/it", "deep\n")

			d.Write("dev/hook", "ran\n")
			eventually("a command", "cat /ran", "ran\n")

			started := func() string {
				return d.MustDocker("inspect", "-f", "{{.State.StartedAt}}", "dev-app-1")
			}
			at := started()
			d.Write("dev/app.conf", "x=2\n")
			harness.Eventually(t, "the restart", func() error {
				if started() == at {
					return fmt.Errorf("it says:\n%s", out)
				}
				return nil
			})
			eventually("the file before the restart", "cat /etc/app.conf", "x=2\n")
			if now := ids(d, dir)["dev-app-1"]; now != before {
				t.Error("what needs no rebuild replaced the container")
			}

			image := d.MustDocker("image", "inspect", "-f", "{{.ID}}", "dev-app")
			d.Write("dev/Dockerfile", "FROM busybox:test\nRUN false\n")
			harness.Eventually(t, "a failing build is told of", says(out, "RUN false"))
			eventually("the container outlives it", "cat /built", "one\n")
			d.Write("dev/Dockerfile", "FROM busybox:test\nRUN echo two >/built\n")
			eventually("the rebuild", "cat /built", "two\n")
			harness.Eventually(t, "the old image is gone", func() error {
				if r := d.Docker("image", "inspect", strings.TrimSpace(image)); r.Code == 0 {
					return errors.New("it is there")
				}
				return nil
			})

			cmd.Process.Signal(syscall.SIGINT)
			if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("%v ended with %d:\n%s", verb, cmd.ProcessState.ExitCode(), out)
			}
			if strings.Contains(out.String(), "exited with code") != (verb[0] == "up") {
				t.Errorf("%v tells of exits that it has brought about, or of no end:\n%s", verb, out)
			}
			d.Must(dir, "down", "-t", "0", "--rmi", "local")
		})
	}
}
