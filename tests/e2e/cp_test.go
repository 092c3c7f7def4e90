package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

func TestCpBothWays(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("copy", `
services:
  web:
    image: busybox
    command: [sleep, "1000"]
    init: true
    scale: 2
`)
	d.Must(dir, "up", "-d")
	local := filepath.Join(dir, "file")
	if err := os.WriteFile(local, []byte("from here"), 0o640); err != nil {
		t.Fatal(err)
	}
	d.Must(dir, "cp", "file", "web:/tmp/")
	d.Must(dir, "cp", "-a", "--index", "2", "./file", "web:/only")
	for _, index := range []string{"1", "2"} {
		if got := d.Must(dir, "exec", "-T", "--index", index, "web", "cat", "/tmp/file"); got != "from here" {
			t.Errorf("replica %s has %q", index, got)
		}
	}
	d.Fail(dir, "exec", "-T", "--index", "1", "web", "cat", "/only")
	d.Must(dir, "exec", "-T", "web", "ln", "-s", "/tmp/file", "/link")
	d.Must(dir, "cp", "-L", "web:/link", "back")
	if got, err := os.ReadFile(filepath.Join(dir, "back")); err != nil || string(got) != "from here" {
		t.Errorf("copied back %q, %v", got, err)
	}
	archive := d.Must(dir, "cp", "--index", "2", "web:/tmp/.", "-")
	if !strings.Contains(archive, "from here") {
		t.Error("the archive does not hold the file")
	}
	if r := d.GantryInput(dir, archive, "cp", "-", "web:/root"); r.Code == 0 || !strings.Contains(r.Stderr, "--index") {
		t.Errorf("standard input into two: %v", r)
	}
	if r := d.GantryInput(dir, archive, "cp", "--index", "1", "-", "web:/root"); r.Code != 0 {
		t.Error(r)
	}
	if got := d.Must(dir, "exec", "-T", "--index", "1", "web", "cat", "/root/file"); got != "from here" {
		t.Errorf("unpacked %q", got)
	}
	for _, args := range [][]string{{"file", "other"}, {"web:/a", "web:/b"}, {"none:/a", "."}, {"web:/missing", "."}, {"--index", "3", "web:/tmp/file", "."}} {
		d.Fail(dir, append([]string{"cp"}, args...)...)
	}
}
