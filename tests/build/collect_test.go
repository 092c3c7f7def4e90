package build_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/harness"

	"github.com/docker/go-units"
)

// Nobody has to prune a disk that builds fill: of what they have cached, as much
// goes by itself as keeps a part of the disk free.
func TestCacheLeavesTheDiskFree(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.SmallDisk("60m")
	d.Busybox(image)
	large := "FROM " + image + "\nRUN head -c 47500000 /dev/zero > /big\n"
	if r := d.DockerInput(large, "build", "-q", "-o", "type=cacheonly", "-"); r.Code != 0 {
		t.Fatal(r)
	}
	d.Stop() // so that it looks at the disk at once, not in a minute
	d.Launch()
	var disk syscall.Statfs_t
	free := func() int64 {
		if err := syscall.Statfs(d.Data(), &disk); err != nil {
			t.Fatal(err)
		}
		return int64(disk.Bfree) * disk.Bsize
	}
	harness.Eventually(t, "the cache goes", func() error {
		d.MustDocker("buildx", "du")
		if n := free(); n < 40<<20 {
			return fmt.Errorf("%d bytes are free", n)
		}
		return nil
	})
	if r := d.DockerInput(strings.Replace(large, "/big", "/other", 1), "build", "-q", "-o", "type=cacheonly", "-"); r.Code != 0 {
		t.Errorf("the next build: %v", r)
	}
}

// Filters and sizes say what of the cache goes, and the rest is still there.
func TestPruneTakesWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN --mount=type=cache,target=/c head -c 3000000 /dev/urandom | tee /c/f > /big\n")
	d.MustDocker("builder", "build", "-q", "-o", "type=cacheonly", "ctx")
	records := func(filter ...string) int {
		t.Helper()
		args := []string{"buildx", "du", "--format", "{{.ID}}"}
		for _, f := range filter {
			args = append(args, "--filter", f)
		}
		return len(strings.Fields(d.MustDocker(args...)))
	}
	records() // what is asked for before there is an image is known again afterwards
	d.MustDocker("build", "-q", "-t", "app", "ctx")
	idle(d)
	all := records()
	for _, args := range [][]string{
		{"--filter", "until=24h"}, {"-a", "--filter", "unused-for=1h"}, {"--keep-storage", "1GB"}, {"-a", "--reserved-space", "1GB"}, {"-a", "--max-used-space", "1GB"},
	} {
		if out := d.MustDocker(append([]string{"builder", "prune", "-f"}, args...)...); out != "Total reclaimed space: 0B\n" || records() != all {
			t.Errorf("%q: %s", args, out)
		}
	}
	if n := records("type=exec.cachemount"); n != 1 {
		t.Errorf("%d cache mounts of %d records:\n%s", n, all, d.MustDocker("buildx", "du", "--verbose"))
	}
	if out := d.MustDocker("buildx", "prune", "-f", "--verbose", "--filter", "type=exec.cachemount"); !strings.Contains(out, "Total reclaimed space: 3") || records("type=exec.cachemount") != 0 || records() != all-1 {
		t.Errorf("the cache mount: %s", out)
	}
	if r := d.DockerInput("n\n", "builder", "prune", "-a"); r.Code != 0 || !strings.Contains(r.Stdout, "all build cache") || records() != all-1 {
		t.Errorf("no is no: %v", r)
	}
	table := d.MustDocker("buildx", "du")
	for _, want := range []string{"ID ", "RECLAIMABLE", "LAST ACCESSED", "Shared:", "Reclaimable:", "Total:"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if out := d.MustDocker("system", "df", "-v"); !strings.Contains(out, "CACHE ID") || !strings.Contains(out, "source.local") {
		t.Errorf("df says\n%s", out)
	}
	// what images hold stays on the disk, and is counted once
	before := usage(t, d.Data())
	out := d.MustDocker("builder", "prune", "-af")
	size, err := units.FromHumanSize(strings.TrimSpace(out[strings.LastIndex(out, ":")+1:]))
	if freed := before - usage(t, d.Data()); err != nil || size > freed+1_000_000 {
		t.Errorf("%d bytes have left the disk, it says %d, %v:\n%s", freed, size, err, out)
	}
	if got := d.MustDocker("run", "--rm", "app", "sh", "-c", "wc -c < /big"); got != "3000000\n" || records() != 0 {
		t.Errorf("after all was pruned the image has %q, the cache %d records", got, records())
	}
	held := usage(t, d.Data())
	d.MustDocker("image", "rm", "app")
	if freed := held - usage(t, d.Data()); freed < 6_000_000 { // unpacked and compressed
		t.Errorf("the image that alone held its layer gave back %d bytes", freed)
	}
	d.MustDocker("build", "-q", "-o", "type=cacheonly", "ctx")
	idle(d)
	if out := d.MustDocker("system", "prune", "-f"); !strings.Contains(out, "Deleted build cache objects") {
		t.Errorf("system prune: %s", out)
	}
	d.FailDocker("builder", "prune", "-f", "--filter", "color=red")
}
