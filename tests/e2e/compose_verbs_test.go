package e2e

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// What is not about bringing a project up or down: how many, how much, where.
func TestScaleStatsVolumesAndExport(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("more", `
name: more
services:
  web: {image: busybox, command: [sleep, "1000"], init: true, volumes: ["data:/data"]}
  db: {image: busybox, command: [sleep, "1000"], init: true, volumes: ["base:/base", "/anonymous"], attach: false}
volumes: {data: {}, base: {}}
`)
	d.Must(dir, "up", "-d", "web")
	one := ids(d, dir)
	d.Must(dir, "scale", "web=3", "db=1")
	now := ids(d, dir)
	if len(now) != 4 || now["more-web-1"] != one["more-web-1"] {
		t.Errorf("scaled up: %v, before %v", now, one)
	}
	d.Must(dir, "scale", "--no-deps", "web=1")
	if now := ids(d, dir); len(now) != 2 || now["more-web-1"] != one["more-web-1"] {
		t.Errorf("scaled down: %v", now)
	}

	names := func(args ...string) string {
		return strings.Join(strings.Fields(d.Must(dir, append([]string{"volumes"}, args...)...)), " ")
	}
	for args, want := range map[string]string{
		"-q": "more_base more_data", "-q web": "more_data", "--format table": "DRIVER VOLUME NAME local more_base local more_data",
		"--format {{.Name}} db": "more_base",
	} {
		if got := names(strings.Fields(args)...); got != want {
			t.Errorf("volumes %s: %q", args, got)
		}
	}

	if got := d.Must(dir, "stats", "--no-stream", "--format", "{{.Name}}", "db"); got != "more-db-1\n" {
		t.Errorf("stats: %q", got)
	}
	if got := d.Must(dir, "stats", "--no-stream", "--format", "{{.Name}}"); len(strings.Fields(got)) != 2 {
		t.Errorf("stats: %q", got)
	}

	d.Must(dir, "exec", "-T", "web", "sh", "-c", "echo here >/there")
	file := filepath.Join(d.Dir, "web.tar")
	d.Must(dir, "export", "-o", file, "web")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	archive, found := tar.NewReader(f), false
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found = found || strings.Trim(h.Name, "./") == "there" && h.Size == 5
	}
	if !found {
		t.Error("the archive has not got what the container wrote")
	}
	d.Must(dir, "down", "-t", "0", "-v")
	d.NoLeaks()
}

// config pins images as the registry has them.
func TestConfigPinsImages(t *testing.T) {
	t.Parallel()
	registry := harness.Registry(t, "", "")
	d := harness.Start(t)
	harness.Push(t, registry+"/app:1", nil)
	dir := d.Project("pin", "name: pin\nservices:\n  app: {image: "+registry+"/app:1, command: [\"true\"]}\n")
	got := d.Must(dir, "config", "--resolve-image-digests", "--images")
	if !strings.HasPrefix(got, registry+"/app:1@sha256:") {
		t.Errorf("images %q", got)
	}
	d.Write("pin/lock.yaml", d.Must(dir, "config", "--lock-image-digests"))
	if locked := d.Must(dir, "-f", "compose.yaml", "-f", "lock.yaml", "config", "--images"); locked != got {
		t.Errorf("locked %q, resolved %q", locked, got)
	}
	d.Must(dir, "-f", "compose.yaml", "-f", "lock.yaml", "run", "--rm", "-T", "app")
	d.Must(dir, "down")
}
