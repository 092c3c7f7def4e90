package build_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What can be said of a Dockerfile is said in buildx's words, and its exit codes.
func TestDockerfilesAreExamined(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", "from "+image+" as base\nARG who=nobody\nRUN echo $who\nFROM base AS last\nRUN cat /proc/sys/kernel/random/uuid > /when\n")
	r := d.Docker("build", "--progress", "plain", "-t", "app", "ctx")
	if !strings.Contains(r.Stderr, "\n 1 warning found (use docker --debug to expand):\n - ConsistentInstructionCasing: ") {
		t.Errorf("a build says %v", r)
	}
	if r := d.Docker("--debug", "build", "--progress", "plain", "-t", "app", "ctx"); !strings.Contains(r.Stderr, "More info: https://") || !strings.Contains(r.Stderr, ">>> from") {
		t.Errorf("--debug says %v", r)
	}
	if r := d.Docker("build", "--progress", "none", "--no-cache", "-t", "app", "ctx"); r.Code != 0 || r.Stdout+r.Stderr != "" {
		t.Errorf("--progress none says %v", r)
	}
	for _, args := range [][]string{{"--check"}, {"--call", "check"}, {"--call=lint"}} {
		if r := d.Docker(append(append([]string{"build"}, args...), "ctx")...); r.Code != 1 || !strings.Contains(r.Stdout, "Check complete, 1 warning has been found!\n") {
			t.Errorf("%q: %v", args, r)
		}
	}
	var found struct{ Warnings []struct{ RuleName string } }
	if out := d.MustDocker("build", "--call", "check,format=json,ignorestatus=true", "ctx"); json.Unmarshal([]byte(out), &found) != nil || len(found.Warnings) != 1 {
		t.Errorf("as JSON: %s", out)
	}
	if out := d.MustDocker("build", "--call", "targets", "ctx"); !strings.Contains(out, "last (default)") || !strings.Contains(out, "base") {
		t.Errorf("targets: %s", out)
	}
	if out := d.MustDocker("build", "--call", "outline", "--target", "base", "ctx"); !strings.Contains(out, "who") {
		t.Errorf("outline: %s", out)
	}
	if r := d.DockerInput("FROM "+image+"\nRUN true\n", "build", "--check", "-"); r.Code != 0 || r.Stdout != "Check complete, no warnings found.\n" {
		t.Errorf("nothing is wrong: %v", r)
	}
	when := func() string { return d.MustDocker("run", "--rm", "app", "cat", "/when") }
	first := when()
	if d.MustDocker("build", "-q", "-t", "app", "ctx"); when() != first {
		t.Error("a stage that was to be cached was built")
	}
	d.MustDocker("build", "-q", "-t", "app", "--no-cache-filter", "last", "ctx")
	if when() == first {
		t.Error("a stage that was not to be cached was not built")
	}
	for want, args := range map[string][]string{
		"did you mean last?": {"--target", "las"}, "cannot currently be used together": {"--no-cache", "--no-cache-filter", "x"}, "use build, check, outline or targets": {"--call", "lunch"},
		"progress=plain and quiet": {"-q", "--progress", "plain"},
	} {
		if r := d.FailDocker(append(append([]string{"build"}, args...), "ctx")...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.MustDocker("image", "rm", "app")
	d.MustDocker("image", "prune", "-f")
}

// Ctrl-C while a result is written: there is no half of it.
func TestInterruptedOutputsLeaveNothing(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN head -c 40000000 /dev/urandom > /big\n")
	for _, output := range []string{"type=oci,dest=there.tar,compression=gzip,compression-level=9,force-compression=true", "type=image,name=half,compression=gzip,compression-level=8,force-compression=true"} {
		cmd := d.DockerCommand(d.Dir, "build", "--progress", "plain", "-o", output, "ctx")
		says, err := cmd.StderrPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(says)
		for begun := false; !begun && lines.Scan(); {
			begun = strings.Contains(lines.Text(), "exporting layers")
		}
		cmd.Process.Signal(syscall.SIGINT)
		for lines.Scan() {
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("%s: it ended with %v", output, cmd.ProcessState)
		}
	}
	left, err := filepath.Glob(filepath.Join(d.Dir, "*there.tar*"))
	hidden, _ := filepath.Glob(filepath.Join(d.Dir, ".there.tar*"))
	if err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left: %q %q %v", left, hidden, err)
	}
	if got := d.MustDocker("image", "ls", "-q", "half"); got != "" {
		t.Errorf("half an image is there: %s", got)
	}
	d.MustDocker("build", "-q", "-t", "half", "ctx")
	if got := d.MustDocker("run", "--rm", "half", "sh", "-c", "wc -c < /big"); got != "40000000\n" {
		t.Errorf("the next build made %q", got)
	}
	d.MustDocker("image", "rm", "half")
	if _, err := os.Stat(filepath.Join(d.Dir, "there.tar")); err == nil {
		t.Error("the archive has come after the end")
	}
}
