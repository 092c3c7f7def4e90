package docker_test

import (
	"strings"
	"testing"
)

func TestRunPrintsAndPassesTheExitCode(t *testing.T) {
	t.Parallel()
	d := start(t)
	if out := d.MustDocker("run", "--rm", image, "echo", "hello"); out != "hello\n" {
		t.Errorf("printed %q", out)
	}
	if r := d.Docker("run", "--rm", image, "sh", "-c", "exit 42"); r.Code != 42 {
		t.Errorf("exit code: %v", r)
	}
	if r := d.DockerInput("a\nb\n", "run", "-i", "--rm", image, "wc", "-l"); strings.TrimSpace(r.Stdout) != "2" {
		t.Errorf("input: %v", r)
	}
	if ids := d.MustDocker("ps", "-aq"); ids != "" {
		t.Errorf("left behind: %s", ids)
	}
}
