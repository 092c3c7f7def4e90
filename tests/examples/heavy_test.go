//go:build examples

package examples_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// Everything in examples/ is built as users do, from packages and sources of
// Debian's mirror, and runs. "make test-examples" makes the base image first.
func TestExamplesBuildThemselves(t *testing.T) {
	d := harness.Start(t)
	// the harness bounds its commands by less than Redis takes to compile
	run := func(name string, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		cmd := d.Command(filepath.Join(examples, name), args...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v: %v\n%s\n%s", name, args, err, out.String(), errs.String())
		}
		return out.String()
	}
	run("..", "load", "-i", "bin/images/debian.tar")
	defer func() {
		for _, ref := range strings.Fields(d.MustDocker("image", "ls", "-q", "--no-trunc")) {
			d.Docker("image", "rm", "-f", ref) // one image may have two names
		}
	}()

	run("images", "build")
	names := strings.Fields(d.MustDocker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}"))
	for _, want := range []string{"nginx:latest", "nginx:1", "postgres:15", "postgres:latest", "registry:2", "registry:latest"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s among %v", want, names)
		}
	}
	run("images/nginx", "container", "run", "--rm", "nginx:latest", "nginx", "-t")

	visits, hello := harness.FreePort(t), harness.FreePort(t)
	t.Setenv("VISITS_PORT", visits)
	t.Setenv("HELLO_PORT", hello)
	run("app-redis", "up", "-d", "--wait")
	defer run("app-redis", "down", "-v", "--rmi", "all")
	first := harness.Page(t, "127.0.0.1:"+visits)
	run("app-redis", "down")
	run("app-redis", "up", "-d", "--wait")
	if second := harness.Page(t, "127.0.0.1:"+visits); first != "1\n" || second != "2\n" {
		t.Errorf("visits %q and, after down and up, %q", first, second)
	}

	run("go-multistage", "up", "-d", "--wait")
	defer run("go-multistage", "down", "--rmi", "all")
	if got := harness.Page(t, "127.0.0.1:"+hello); !strings.Contains(got, "version 1.0") {
		t.Errorf("the program says %q", got)
	}
	run("go-multistage", "build", "check")
}
