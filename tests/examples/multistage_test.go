package examples_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	port := freePort(t)
	t.Setenv("HELLO_PORT", port)
	project := func(args ...string) string {
		t.Helper()
		return d.Must(example, append([]string{"-f", "compose.yaml", "-f", override}, args...)...)
	}
	container := func() string { return strings.TrimSpace(project("ps", "-q", "hello")) }

	compile("one")
	project("up", "-d", "--wait")
	if got := page(t, port); !strings.Contains(got, "version one") {
		t.Errorf("the program says %q", got)
	}
	first := container()
	project("up", "-d", "--build", "--wait")
	if now := container(); now != first {
		t.Error("an image that was built to the same content replaced the container")
	}
	compile("two")
	project("up", "-d", "--build", "--wait")
	if got := page(t, port); !strings.Contains(got, "version two") {
		t.Errorf("after a change the program says %q", got)
	}
	project("down", "--rmi", "all")
	d.MustDocker("image", "prune", "-f")
}

// page waits for nothing: what it asks is healthy.
func page(t *testing.T, port string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get("http://127.0.0.1:" + port + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
