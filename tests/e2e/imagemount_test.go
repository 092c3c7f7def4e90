package e2e

import (
	"strings"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

// Images can be mounted: read-only, whole or in part, and as long as a container
// has them, whatever becomes of their names.
func TestImagesAreMounted(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	d.Busybox("site:1", busybox.Layer(
		busybox.File{Path: "/site/page", Body: "a page\n"}, busybox.File{Path: "/site/sub/other", Body: "another\n"},
		busybox.File{Path: "/in", Link: "/site/sub"},
	))
	dir := d.Project("mounts", `
name: mounts
services:
  web:
    image: busybox
    command: [sleep, "1000"]
    init: true
    volumes:
      - {type: image, source: "site:1", target: /whole}
      - {type: image, source: "site:1", target: /part, image: {subpath: in}}
`)
	d.Must(dir, "up", "-d")
	want := "a page\nanother\nread-only\n"
	look := func(when string) {
		t.Helper()
		got := d.Must(dir, "exec", "-T", "web", "sh", "-c", "cat /whole/site/page /part/other; touch /whole/x 2>&- || echo read-only")
		if got != want {
			t.Errorf("%s: %q", when, got)
		}
	}
	look("at first")
	if plan := d.Must(dir, "--dry-run", "up"); plan != "" {
		t.Errorf("nothing changed, yet there is a plan:\n%s", plan)
	}
	d.Kill9()
	d.Launch()
	look("under another daemon")
	d.MustDocker("image", "prune", "-af")
	if r := d.FailDocker("rmi", "site:1"); !strings.Contains(r.Stderr, "is using its referenced image") {
		t.Errorf("an image that is mounted: %v", r)
	}
	d.MustDocker("rmi", "-f", "site:1")
	d.Must(dir, "stop", "-t", "0")
	d.Must(dir, "cp", "web:/part/other", d.Dir+"/copied")
	d.Must(dir, "start")
	look("without the image's name")
	d.Must(dir, "down", "-t", "0")

	d.Busybox("site:1", busybox.Layer(busybox.File{Path: "/out", Link: d.Dir}))
	if got := d.MustDocker("run", "--rm", "--mount", "type=image,source=site:1,target=/i", "busybox", "readlink", "/i/out"); got != d.Dir+"\n" {
		t.Errorf("docker run: %q", got)
	}
	for source, says := range map[string]string{
		"source=site:1,image-subpath=nothing": "does not exist",
		"source=no.such:1":                    "No such image: no.such:1",
		"source=site:1,image-subpath=out":     "does not exist", // in the image; it does on the host
	} {
		if r := d.FailDocker("run", "--rm", "--mount", "type=image,target=/i,"+source, "busybox", "ls", "/i"); !strings.Contains(r.Stderr, says) {
			t.Errorf("%s: %s", source, r.Stderr)
		}
	}
	d.NoLeaks()
}
