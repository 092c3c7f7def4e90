package build_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gantry/tests/harness"

	moby "github.com/moby/moby/client"
)

// Nothing runs of a build that whoever asked for it has left, and nothing of the
// cache stays in use; the daemon may be killed in it, too.
func TestInterruptedBuildsLeaveNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.Write("ctx/Dockerfile", "FROM "+image+"\nRUN trap '' INT TERM; head -c 3000000 /dev/urandom > /big; sleep 3271\n")
	dir := h.Project("shop", "name: shop\nservices:\n  web: {build: ../ctx}\n")
	sleeping := func(want bool) {
		t.Helper()
		harness.Eventually(t, "the step runs or not", func() error {
			if running("3271") != want {
				return os.ErrNotExist
			}
			return nil
		})
	}
	before := usage(t, h.Data())
	for _, args := range [][]string{{"build", "--progress", "plain"}, {"up", "--build"}, {"up", "-d"}, {"docker"}} {
		for s, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 0, syscall.SIGKILL: -1} {
			cmd := h.Command(dir, args...)
			if args[0] == "docker" {
				cmd = h.DockerCommand(h.Dir, "build", "ctx")
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			sleeping(true)
			cmd.Process.Signal(s)
			at := time.Now()
			if cmd.Wait(); code != 0 && cmd.ProcessState.ExitCode() != code || cmd.ProcessState.Success() {
				t.Errorf("%q after %s: %v", args, s, cmd.ProcessState)
			}
			sleeping(false)
			t.Logf("%q ended %s after %s", args, time.Since(at), s)
		}
	}
	ctx, leave := context.WithCancel(h.ctx)
	defer leave()
	left := make(chan struct{})
	go func() {
		defer close(left)
		body := tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\nRUN sleep 3271\n"})
		if resp, err := h.engine().ImageBuild(ctx, body, moby.ImageBuildOptions{}); err == nil {
			io.Copy(io.Discard, resp.Body)
		}
	}()
	sleeping(true)
	leave()
	<-left
	sleeping(false)
	idle(h.Daemon)
	h.MustDocker("builder", "prune", "-af")
	if after := usage(t, h.Data()); after > before+1_000_000 {
		t.Errorf("before the builds there were %d bytes, then %d", before, after)
	}

	for _, cmd := range []*exec.Cmd{h.DockerCommand(h.Dir, "build", "ctx"), h.Command(dir, "up", "-d")} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sleeping(true)
		h.Kill9()
		cmd.Wait()
		h.Launch()
		sleeping(false)
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounts), h.Dir+"/") {
			t.Errorf("the next daemon leaves mounts: %v\n%s", err, mounts)
		}
	}
	h.Write("ctx/Dockerfile", "FROM "+image+"\nRUN echo again\n")
	h.MustDocker("build", "-q", "-t", "app", "ctx")
	h.MustDocker("image", "rm", "app")
	h.Must(dir, "build", "-q")
	h.MustDocker("image", "rm", "shop-web")
	h.MustDocker("builder", "prune", "-af")
	if after := usage(t, h.Data()); after > before+1_000_000 {
		t.Errorf("before the builds there were %d bytes, after the daemon was killed %d", before, after)
	}
}

// Half a context is no context: its space comes back when the cache is pruned.
func TestDaemonKilledWhileItGetsAContext(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", "FROM "+image+"\nCOPY . /\n")
	before := usage(t, d.Data())
	if err := os.Truncate(d.Write("ctx/file", ""), 1<<40); err != nil {
		t.Fatal(err)
	}
	begun := func() *exec.Cmd {
		t.Helper()
		build := d.DockerCommand(d.Dir, "build", "-t", "app", "ctx")
		if err := build.Start(); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the context is on its way", func() error {
			if usage(t, d.Data()) < before+10_000_000 {
				return os.ErrNotExist
			}
			return nil
		})
		return build
	}
	given := func(after string) {
		t.Helper()
		idle(d)
		d.MustDocker("builder", "prune", "-af")
		if n := usage(t, d.Data()); n > before+1_000_000 {
			t.Errorf("%s there are %d bytes, before the build there were %d", after, n, before)
		}
	}
	build := begun()
	build.Process.Signal(syscall.SIGINT)
	build.Wait()
	given("after Ctrl-C")
	build = begun()
	d.Kill9()
	if build.Wait() == nil {
		t.Error("a build succeeded without its daemon")
	}
	d.Launch()
	if got := d.MustDocker("images", "-aq", "app"); got != "" {
		t.Errorf("half an image: %s", got)
	}
	given("after the daemon was killed")
	d.Write("ctx/file", "whole\n")
	d.MustDocker("build", "-q", "-t", "app", "ctx")
	if got := d.MustDocker("run", "--rm", "app", "cat", "/file"); got != "whole\n" {
		t.Errorf("the image has %q", got)
	}
	d.MustDocker("image", "rm", "app")
}

// A daemon that is killed while it sends a build's files has mounted what it
// reads from; the next one unmounts that.
func TestDaemonKilledInAnExport(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	mounted := func() error {
		all, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(all)) {
			if strings.Contains(line, "buildkit-mount") && strings.Contains(line, filepath.Base(d.Dir)+"/") {
				return errors.New(line)
			}
		}
		return nil
	}
	d.Write("ctx/Dockerfile", "FROM "+image+"\n")
	build := d.DockerCommand(d.Dir, "build", "-o", "-", "ctx")
	unread, err := build.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	if err := build.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the image's files are being sent", func() error {
		if mounted() == nil {
			return os.ErrNotExist
		}
		return nil
	})
	d.Kill9()
	unread.Close()
	if build.Wait() == nil {
		t.Error("a build succeeded without its daemon")
	}
	d.Launch()
	if err := mounted(); err != nil {
		t.Errorf("left mounted: %v", err)
	}
}
