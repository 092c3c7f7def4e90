package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

// A disk that fills up in a build fails the build alone, and can be emptied to
// the last byte, also by a daemon that starts on it.
func TestBuildsOnAFullDisk(t *testing.T) {
	t.Parallel()
	d := harness.Start(t, `"builder": {"gc": {"defaultKeepStorage": "2GB"}}`)
	d.SmallDisk("30m")
	d.Busybox(image)
	filler := filepath.Join(d.Data(), "filler")
	fill := func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	says := func(r harness.Result) {
		t.Helper()
		ours := strings.Contains(r.Stderr, "no space left on device") && strings.Contains(r.Stderr, "docker system prune")
		if step := "write error: No space left on device"; !ours && !strings.Contains(r.Stderr, step) {
			t.Errorf("a full disk is told as %v", r)
		}
	}
	d.Write("small/Dockerfile", "FROM "+image+"\nRUN echo content >/file\n")
	d.Write("large/Dockerfile", "FROM "+image+"\nCOPY . /\n")
	d.Write("large/file", strings.Repeat("0123456789abcdef", 2<<20))
	dir := d.Project("shop", "name: shop\nservices:\n  web: {build: ../large, command: sleep 100}\n")

	d.MustDocker("build", "-q", "-t", "small", "small")
	says(d.FailDocker("build", "-t", "large", "large"))
	says(d.Fail(dir, "up", "-d"))
	if got := d.MustDocker("images", "-q", "large"); got != "" {
		t.Errorf("half an image is visible: %s", got)
	}
	for range 2 {
		harness.Eventually(t, "the disk stays full", func() error { // what broke off before gives its space back meanwhile
			fill()
			r := d.Docker("build", "--no-cache", "small")
			if r.Code == 0 {
				return errors.New("there was room for a build")
			}
			says(r)
			return nil
		})
		says(d.FailDocker("load", "-i", archived(d)))
		d.MustDocker("system", "df")
		d.Stop()
		d.Launch()
	}
	fill()
	if out := d.MustDocker("builder", "prune", "-af"); !strings.Contains(out, "Deleted build cache objects") {
		t.Errorf("pruned: %s", out)
	}
	fill()
	d.MustDocker("rmi", "small")
	fill()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.MustDocker("build", "-q", "-t", "small", "small")
	if got := d.MustDocker("run", "--rm", "small", "cat", "/file"); got != "content\n" {
		t.Errorf("afterwards a build made %q", got)
	}
	d.MustDocker("system", "prune", "-af")
	if left, err := filepath.Glob(filepath.Join(d.Data(), "containerd/io.containerd.content.v1.content/ingest/*")); err != nil || len(left) > 0 {
		t.Errorf("downloads that broke off are left: %q %v", left, err)
	}
}

// archived is an archive outside the daemon's disk, of an image that needs more
// than a failed build gives back.
func archived(d *harness.Daemon) string {
	d.T.Helper()
	path := filepath.Join(d.Dir, "saved.tar")
	f, err := os.Create(path)
	if err != nil {
		d.T.Fatal(err)
	}
	defer f.Close()
	if err := busybox.Archive(f, "big", busybox.Layer(busybox.File{Path: "/big", Body: strings.Repeat("0123456789abcdef", 1<<20)})); err != nil {
		d.T.Fatal(err)
	}
	return path
}
