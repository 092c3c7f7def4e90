package registry_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

var update = flag.Bool("update", false, "write the example's golden plan anew")

const example = "../../examples/registry"

// exampleImage loads what examples/images/registry/Dockerfile says, over busybox
// in place of Debian's base: the program and its libraries are the package's.
func exampleImage(t *testing.T, d *harness.Daemon) {
	t.Helper()
	recipe := "../../examples/images/registry"
	words := map[string][]string{}
	for line := range strings.Lines(read(t, recipe+"/Dockerfile")) {
		if name, list, _ := strings.Cut(line, " "); name == "ENTRYPOINT" || name == "CMD" {
			var args []string
			if err := json.Unmarshal([]byte(list), &args); err != nil {
				t.Fatal(err)
			}
			words[name] = args
		}
	}
	files := []busybox.File{{Path: "/etc/docker/registry/config.yml", Body: read(t, recipe+"/config.yml")}}
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, busybox.File{Path: "/bin/docker-registry", Body: read(t, program), Mode: 0o755})
	libraries, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(libraries)) {
		if filepath.IsAbs(word) {
			files = append(files, busybox.File{Path: word, Body: read(t, word), Mode: 0o755})
		}
	}
	d.Busybox("registry:2", busybox.Layer(files...), busybox.Configure(func(c *busybox.Config) {
		c.Entrypoint, c.Cmd = words["ENTRYPOINT"], words["CMD"]
	}))
}

// The example does what its README says: a registry in a container, and a
// service that runs what was pushed to it.
func TestExample(t *testing.T) {
	t.Parallel()
	d := start(t)
	exampleImage(t, d)
	port := harness.FreePort(t)
	run := func(args ...string) string {
		t.Helper()
		cmd := d.Command(example, args...)
		cmd.Env = append(cmd.Env, "REGISTRY_PORT="+port, "DOCKER_CONFIG="+d.Dir)
		r := d.Finish(cmd)
		if r.Code != 0 {
			t.Fatalf("%v\n%s", r, d.MustDocker("ps", "-a"))
		}
		return r.Stdout
	}
	ref := "127.0.0.1:" + port + "/hello:1"
	d.MustDocker("tag", image, ref)
	plan := strings.ReplaceAll(run("up", "--pull", "missing", "--dry-run", "registry", "hello"), port, "5000")
	if *update {
		if err := os.WriteFile(example+"/plan.txt", []byte(plan), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, example+"/plan.txt"); plan != want {
		t.Errorf("the plan is\n%s\nexamples/registry/plan.txt has\n%s", plan, want)
	}

	run("up", "-d", "--wait")
	run("push", "hello")
	d.MustDocker("rmi", ref)
	run("up", "-d", "hello")
	harness.Eventually(t, "the pushed image speaks", func() error {
		return expect(run("logs", "--no-log-prefix", "hello"), "hello from a pushed image\n")
	})

	// What was pushed outlives the registry's container.
	run("--profile", "pushed", "down", "--rmi", "local")
	d.MustDocker("rmi", ref)
	run("up", "-d", "--wait")
	d.MustDocker("pull", ref)
	run("--profile", "pushed", "down", "-v")
}
