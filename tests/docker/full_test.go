package docker_test

import (
	"strings"
	"testing"

	"gantry/tests/harness"
)

// A disk that is full can be emptied with Docker's commands, and nothing that
// runs on it has to go on.
func TestFullDiskIsMadeEmptyByHand(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.SmallDisk("18m")
	t.Cleanup(func() { d.Docker("rm", "-f", "app", "frozen", "filler") })
	d.Busybox(image)
	d.MustDocker("run", "-d", "--name", "app", "--restart", "always", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "frozen", image, "sleep", "1000")
	d.MustDocker("pause", "frozen")
	d.FailDocker("run", "--name", "filler", image, "sh", "-c", "cat /dev/zero > /all")

	if r := d.FailDocker("volume", "create", "more"); !strings.Contains(r.Stderr, "no space left on device") {
		t.Fatal(r)
	}
	d.MustDocker("stop", "-t", "0", "app", "frozen")
	if s := inspect(d, "app", "{{.State.Status}} {{.State.ExitCode}}"); s != "exited 137" {
		t.Errorf("stopped on a full disk: %s", s)
	}
	d.MustDocker("rm", "filler")
	d.MustDocker("start", "app")
	d.MustDocker("kill", "app")
	d.MustDocker("rm", "app", "frozen")
	if out := d.MustDocker("run", "--rm", image, "echo", "room"); out != "room\n" {
		t.Errorf("after all: %q", out)
	}
}
