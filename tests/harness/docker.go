package harness

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DockerCommand prepares the docker command line against the daemon: gantry
// called as docker, or the program that GANTRY_TEST_DOCKER names, so that the
// same tests hold for a docker client that is installed.
func (d *Daemon) DockerCommand(dir string, args ...string) *exec.Cmd {
	d.T.Helper()
	cmd := d.Called("docker", dir, args...)
	if program := os.Getenv("GANTRY_TEST_DOCKER"); program != "" {
		cmd.Path, cmd.Args[0] = program, program
	}
	return cmd
}

// Called prepares gantry called by another name, with Docker's environment.
func (d *Daemon) Called(name, dir string, args ...string) *exec.Cmd {
	d.T.Helper()
	program := filepath.Join(d.Dir, "bin", name)
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		d.T.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(d.bin, "gantry"), program); err != nil && !errors.Is(err, fs.ErrExist) {
		d.T.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GANTRY_HOST=", "DOCKER_HOST="+d.Host, "DOCKER_CONFIG="+filepath.Join(d.Dir, "docker-config"))
	return cmd
}

// Finish runs a prepared command to its end.
func (d *Daemon) Finish(cmd *exec.Cmd) Result {
	d.T.Helper()
	return d.finish(cmd, "")
}

// Docker runs the docker command line to its end.
func (d *Daemon) Docker(args ...string) Result {
	d.T.Helper()
	return d.DockerInput("", args...)
}

// DockerInput runs the docker command line with an input.
func (d *Daemon) DockerInput(input string, args ...string) Result {
	d.T.Helper()
	return d.finish(d.DockerCommand(d.Dir, args...), input)
}

// MustDocker runs the docker command line and fails the test unless it
// succeeds; it returns stdout.
func (d *Daemon) MustDocker(args ...string) string {
	d.T.Helper()
	r := d.Docker(args...)
	if r.Code != 0 {
		d.T.Fatalf("%v\n--- daemon\n%s", r, d.Log())
	}
	return r.Stdout
}

// FailDocker runs the docker command line and fails the test if it succeeds.
func (d *Daemon) FailDocker(args ...string) Result {
	d.T.Helper()
	r := d.Docker(args...)
	if r.Code == 0 {
		d.T.Fatalf("should have failed: %v", r)
	}
	return r
}

// StartWith is Start with a busybox image. All containers are removed at the
// test's end, before the look for what is left.
func StartWith(t testing.TB, image string, config ...string) *Daemon {
	t.Helper()
	d := Start(t, config...)
	d.Busybox(image)
	t.Cleanup(func() {
		if ids := strings.Fields(d.MustDocker("ps", "-aq", "--no-trunc")); len(ids) > 0 {
			d.MustDocker(append([]string{"rm", "-fv"}, ids...)...)
		}
	})
	return d
}
