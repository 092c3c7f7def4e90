package build_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// What a build has written is on the disk once, and compressed: the image's file
// system is the cache's, and that of its base the one that was pulled. Cache and
// images go in any order, and the space with the last of them.
func TestBuiltImagesAreOnTheDiskOnce(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	const layer, slack = 8 << 20, 3 << 20
	d.Write("base/Dockerfile", "FROM "+image+"\nRUN head -c 8388608 /dev/urandom >/base\n")
	d.Write("ctx/Dockerfile", "FROM base\nRUN head -c 8388608 /dev/urandom >/first\nRUN rm /base && mkdir -m 700 /new && head -c 8388608 /dev/urandom >/new/second\nENV A=b\n")
	took := func(what string, from, want int64) int64 {
		t.Helper()
		now := usage(t, d.Data())
		if n := now - from; n < want-slack || n > want+slack {
			t.Errorf("%s takes %d bytes, not %d", what, n, want)
		}
		return now
	}
	runs := func(image string) {
		t.Helper()
		if got := d.MustDocker("run", "--rm", image, "sh", "-c", "cat /first /new/second | wc -c; stat -c %a /new; ls /base 2>&1; true"); !strings.HasPrefix(got, "16777216\n700\nls: /base: No such file") {
			t.Errorf("%s has %q", image, got)
		}
	}
	empty := usage(t, d.Data())
	d.MustDocker("build", "-q", "-t", "base", "base")
	d.MustDocker("builder", "prune", "-af")
	base := took("a base without a cache", empty, 2*layer) // unpacked and compressed

	d.MustDocker("build", "-q", "-t", "app", "ctx")
	built := took("an image of two layers on it", base, 4*layer)
	runs("app")
	sizes := strings.Fields(d.MustDocker("history", "--human=false", "--format", "{{.Size}}", "app"))
	if len(sizes) < 4 || sizes[0] != "0" || slices.ContainsFunc(sizes[1:4], func(s string) bool { return len(s) != 7 || s[0] != '8' }) {
		t.Errorf("its layers are of %q bytes", sizes)
	}
	d.MustDocker("run", "--name", "changed", "app", "sh", "-c", "echo more >/more")
	d.MustDocker("commit", "changed", "committed")
	if got := d.MustDocker("run", "--rm", "committed", "cat", "/more"); got != "more\n" {
		t.Errorf("what was committed upon it has %q", got)
	}
	d.MustDocker("rm", "changed")

	d.Kill9()
	d.Launch()
	d.MustDocker("builder", "prune", "-af")
	took("the same without its cache", base, 4*layer)
	runs("app")
	d.Write("linked/one", "1")
	d.Write("linked/two", "2")
	d.Write("linked/Dockerfile", "FROM app\nCOPY --link one /one\nCOPY --link two /other/two\nRUN cat /one /other/two >/three\n")
	d.MustDocker("build", "-q", "-t", "linked", "linked") // upon an image whose cache is gone
	runs("linked")
	if got := d.MustDocker("run", "--rm", "linked", "sh", "-c", "cat /three; ls /new /other"); got != "12/new:\nsecond\n\n/other:\ntwo\n" {
		t.Errorf("what was linked is %q", got)
	}
	d.MustDocker("rmi", "linked")
	d.MustDocker("builder", "prune", "-af")
	d.MustDocker("rmi", "app")
	runs("committed")
	d.MustDocker("rmi", "committed")
	gone(t, d, base)

	d.MustDocker("build", "-q", "-t", "app", "ctx")
	took("a second build", base, 4*layer)
	d.MustDocker("rmi", "app", "base")
	if now := usage(t, d.Data()); now < built-slack {
		t.Errorf("the cache lost %d bytes with its image", built-now)
	}
	d.MustDocker("builder", "prune", "-af")
	gone(t, d, empty)
	left, err := filepath.Glob(filepath.Join(d.Data(), "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*"))
	if err != nil || len(left) > 1 {
		t.Errorf("unpacked is still more than the image %s: %q %v", image, left, err)
	}
}

// gone waits until the disk has so many bytes again.
func gone(t *testing.T, d *harness.Daemon, want int64) {
	t.Helper()
	harness.Eventually(t, "the space is given back", func() error {
		if n := usage(t, d.Data()) - want; n > 3<<20 {
			return fmt.Errorf("%d bytes are left", n)
		}
		return nil
	})
}
