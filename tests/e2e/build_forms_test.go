package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const forms = `
name: forms
services:
  worker: {image: "example.test/app:1", command: [sleep, "1000"], init: true}
  web:
    image: example.test/app:1
    build:
      context: app
      dockerfile: ../docker/web.Dockerfile
      target: run
      args: [FIXED=one, GIVEN, GONE]
      additional_contexts: [docs=./docs, layout=oci-layout://./layout]
      extra_hosts: [there=192.0.2.9]
      shm_size: 32mb
      ulimits: {nofile: 2222}
      labels: [some.label=x]
      tags: ["example.test/app:also"]
    command: [sleep, "1000"]
    init: true
  inline:
    build:
      context: app
      dockerfile_inline: |
        # check=error=true
        FROM busybox:test
        COPY file /file
    command: [sleep, "1000"]
    init: true
`

// Builds in the forms that the compose specification has, and services that use
// what another one builds.
func TestBuildsOfAllForms(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("forms", forms, "app/file", "of app\n", "docs/page", "a page\n", ".env", "GIVEN=two\n", "docker/web.Dockerfile", `FROM layout AS run
ARG FIXED GIVEN GONE=default
RUN echo $FIXED $GIVEN $GONE $(ulimit -n) $(df -k /dev/shm | tail -1 | awk '{print $2}') $(grep -c 192.0.2.9 /etc/hosts) >/told
COPY file /file
COPY --from=docs page /page
FROM run AS unused
RUN false
`)
	archive := filepath.Join(d.Dir, "layout.tar")
	d.MustDocker("save", "-o", archive, "busybox:test")
	d.Write("forms/layout/empty", "")
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir+"/layout").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.Must(dir, "up", "-d", "worker", "inline")
	if got := d.Must(dir, "exec", "-T", "worker", "cat", "/told", "/file", "/page"); got != "one two default 2222 32768 1\nof app\na page\n" {
		t.Errorf("worker has %q", got)
	}
	if got := d.Must(dir, "exec", "-T", "inline", "cat", "/file"); got != "of app\n" {
		t.Errorf("inline has %q", got)
	}
	before := ids(d, dir)
	d.Must(dir, "up", "-d", "--build", "--quiet-build")
	if now := ids(d, dir); len(now) != 3 || now["forms-worker-1"] != before["forms-worker-1"] || now["forms-inline-1"] != before["forms-inline-1"] {
		t.Errorf("the same content replaced containers: %v, before %v", now, before)
	}
	if got := d.MustDocker("image", "inspect", "-f", `{{index .Config.Labels "some.label"}}`, "example.test/app:also"); got != "x\n" {
		t.Errorf("label %q", got)
	}
	d.Write("forms/docs/page", "another page\n")
	d.Must(dir, "up", "-d", "--build", "-t", "0")
	if now := ids(d, dir); now["forms-worker-1"] == before["forms-worker-1"] || now["forms-inline-1"] != before["forms-inline-1"] {
		t.Errorf("not those replaced whose image changed: %v, before %v", now, before)
	}

	var bake struct {
		Target map[string]struct{ Target, Context string }
	}
	if err := json.Unmarshal([]byte(d.Must(dir, "build", "--print", "web")), &bake); err != nil || len(bake.Target) != 1 || bake.Target["web"].Target != "run" || bake.Target["web"].Context != dir+"/app" {
		t.Errorf("bake file %v: %v", bake, err)
	}
	if got := d.Must(dir, "build", "--check", "inline"); !strings.Contains(got, "no warnings found") {
		t.Errorf("check: %s", got)
	}
	d.Write("forms/compose.yaml", strings.Replace(forms, "COPY file /file\n    command", "copy file /file\n    command", 1))
	if r := d.Fail(dir, "build", "--check", "inline"); !strings.Contains(r.Stdout+r.Stderr, "ConsistentInstructionCasing") {
		t.Errorf("check tells: %v", r)
	}
	d.Must(dir, "down", "-t", "0", "--rmi", "all")
}
