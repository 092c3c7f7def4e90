package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

const shop = `
name: shop
services:
  web:
    build: {context: ., target: web, args: {GREETING: hello}}
    command: [sleep, "1000"]
    init: true
    depends_on:
      db: {condition: service_healthy}
  worker:
    build: {context: ., target: worker}
    command: [sleep, "1000"]
    init: true
  db:
    build:
      dockerfile_inline: |
        FROM busybox:test
        HEALTHCHECK --interval=1s CMD true
    command: [sleep, "1000"]
    init: true
`

const shopDockerfile = `FROM busybox:test AS base
COPY content /content
RUN --mount=type=cache,target=/cache date >>/cache/runs && wc -l </cache/runs >/runs
FROM base AS web
ARG GREETING=none
RUN echo $GREETING >/greeting
FROM base AS worker
RUN echo worker >/greeting
`

func builder(t *testing.T) *harness.Daemon {
	d := harness.Start(t)
	d.Busybox("busybox:test")
	return d
}

// ids are the containers' IDs, by name.
func ids(d *harness.Daemon, dir string) map[string]string {
	out := map[string]string{}
	for name, r := range ps(d, dir) {
		out[name] = r.ID
	}
	return out
}

func TestUpBuildsWhatIsMissingAndReplacesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("shop", shop, "Dockerfile", shopDockerfile, "content", "one\n", "ignored", "x\n", ".dockerignore", "ignored\n")
	d.Must(dir, "up", "-d")
	expectState(d, dir, map[string]string{"shop-db-1": "running", "shop-web-1": "running", "shop-worker-1": "running"})
	for service, want := range map[string]string{"web": "hello\none\n", "worker": "worker\none\n"} {
		if got := d.Must(dir, "exec", "-T", service, "cat", "/greeting", "/content"); got != want {
			t.Errorf("%s has %q, want %q", service, got, want)
		}
	}
	first := ids(d, dir)

	d.Must(dir, "up", "-d", "--build")
	if now := ids(d, dir); fmt.Sprint(now) != fmt.Sprint(first) {
		t.Errorf("images that were built to the same content replaced containers:\n%v\n%v", first, now)
	}
	// what was sent is not ignored: a file that .dockerignore names changes nothing
	d.Write("shop/ignored", "y\n")
	d.Must(dir, "build")
	if plan := d.Must(dir, "--dry-run", "up"); plan != "" {
		t.Errorf("nothing changed, yet there is a plan:\n%s", plan)
	}

	d.Write("shop/Dockerfile", strings.Replace(shopDockerfile, "echo worker", "echo changed", 1))
	d.Must(dir, "up", "-d", "--build")
	now := ids(d, dir)
	if now["shop-web-1"] != first["shop-web-1"] || now["shop-db-1"] != first["shop-db-1"] || now["shop-worker-1"] == first["shop-worker-1"] {
		t.Errorf("only worker's image changed:\n%v\n%v", first, now)
	}
	if got := d.Must(dir, "exec", "-T", "worker", "cat", "/greeting"); got != "changed\n" {
		t.Errorf("worker has %q", got)
	}
	d.Must(dir, "down", "--rmi", "local")
	if left := d.MustDocker("image", "ls", "-q", "--filter", "reference=shop-*"); left != "" {
		t.Errorf("down --rmi local left images %s", left)
	}
}

func TestBuildFailureNamesStepLineAndOutput(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("bad", "name: bad\nservices:\n  a:\n    build: .\n    command: [sleep, '100']\n",
		"Dockerfile", "FROM busybox:test AS first\nRUN true\n\nFROM first AS last\nRUN echo the last words; exit 7\n")
	for _, args := range [][]string{{"up", "-d"}, {"build"}} {
		r := d.Fail(dir, args...)
		for _, want := range []string{"[last 1/1] RUN echo the last words; exit 7", "exit code: 7", "Dockerfile:5", "the last words"} {
			if !strings.Contains(r.Stderr, want) {
				t.Errorf("%v does not tell %q:\n%s", args, want, r.Stderr)
			}
		}
		if r.Code != 17 {
			t.Errorf("%v ended with %d", args, r.Code)
		}
	}
	if left := ps(d, dir); len(left) > 0 {
		t.Errorf("containers of an image that could not be built: %v", left)
	}
	r := d.Fail(d.Project("gone", "name: gone\nservices:\n  a:\n    build: ./nowhere\n"), "build")
	if !strings.Contains(r.Stderr, filepath.Join("gone", "nowhere")) {
		t.Errorf("a missing context is told as:\n%s", r.Stderr)
	}
}
