package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// The last stage of the example is built, and what it makes runs; a program of
// this machine's Go stands in for the stage that compiles it.
func TestMultistage(t *testing.T) {
	d := harness.Start(t)
	example := filepath.Join(examples, "go-multistage")
	out := t.TempDir()
	compile := func(version string) {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(out, "out", "hello"), ".")
		cmd.Dir, cmd.Env = example, append(os.Environ(), "CGO_ENABLED=0")
		if b, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	override := d.Write("override.yaml", fmt.Sprintf("services: {hello: {build: {additional_contexts: {build: %q}}}}\n", out))
	port := harness.FreePort(t)
	t.Setenv("HELLO_PORT", port)
	project := func(args ...string) string {
		t.Helper()
		return d.Must(example, append([]string{"-f", "compose.yaml", "-f", override}, args...)...)
	}
	container := func() string { return strings.TrimSpace(project("ps", "-q", "hello")) }

	compile("one")
	project("up", "-d", "--wait")
	if got := harness.Page(t, "127.0.0.1:"+port); !strings.Contains(got, "version one") {
		t.Errorf("the program says %q", got)
	}
	first := container()
	project("up", "-d", "--build", "--wait")
	if now := container(); now != first {
		t.Error("an image that was built to the same content replaced the container")
	}
	compile("two")
	project("up", "-d", "--build", "--wait")
	if got := harness.Page(t, "127.0.0.1:"+port); !strings.Contains(got, "version two") {
		t.Errorf("after a change the program says %q", got)
	}
	project("down", "--rmi", "all")
	d.MustDocker("image", "prune", "-f")
}
