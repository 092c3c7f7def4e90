package docker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/tests/busybox"

	"github.com/moby/moby/api/types/system"
	moby "github.com/moby/moby/client"
)

// What is in use and what could go is told in Docker's numbers, to old and new
// clients alike.
func TestDiskUsage(t *testing.T) {
	t.Parallel()
	d := start(t)
	loadImage(d, "unused", busybox.Layer(busybox.File{Path: "/big", Body: strings.Repeat("x", 2<<20)}))
	d.MustDocker("run", "-d", "--name", "runs", "-v", "used:/data", image, "sh", "-c", "head -c 1048576 /dev/zero >/data/f; head -c 2097152 /dev/zero >/grown; echo done; sleep 1000")
	d.MustDocker("run", "--name", "stopped", image, "sh", "-c", "head -c 1048576 /dev/zero >/grown")
	d.MustDocker("volume", "create", "spare")
	d.MustDocker("run", "--rm", "-v", "spare:/data", image, "sh", "-c", "head -c 3145728 /dev/zero >/data/f")
	for out := ""; !strings.Contains(out, "done"); { // the first container has written
		out = d.MustDocker("logs", "runs")
	}

	type row struct{ Type, TotalCount, Active, Size, Reclaimable string }
	var got []row
	for _, l := range rows(d.MustDocker("system", "df", "--format", "{{json .}}")) {
		var r row
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if _, err := os.Stat(filepath.Join(d.Data(), "buildkit")); !os.IsNotExist(err) {
		t.Errorf("BuildKit was started to say that it has cached nothing: %v", err)
	}
	counts := func(r row) []string { return []string{r.Type, r.TotalCount, r.Active} }
	for i, want := range [][]string{{"Images", "2", "1"}, {"Containers", "2", "1"}, {"Local Volumes", "2", "1"}, {"Build Cache", "0", "0"}} {
		if i >= len(got) || !slices.Equal(counts(got[i]), want) {
			t.Fatalf("line %d: %+v, want %v", i, got, want)
		}
	}
	// files' sizes in whole blocks, and their directories'
	if c := got[1]; !strings.HasPrefix(c.Size, "3.1") || !strings.HasPrefix(c.Reclaimable, "1.0") || !strings.HasSuffix(c.Reclaimable, "(33%)") {
		t.Errorf("containers: %+v", c)
	}
	if v := got[2]; v.Size != "4.194MB" || !strings.HasPrefix(v.Reclaimable, "3.146MB") { // the bytes of its files, as Docker counts
		t.Errorf("volumes: %+v", v)
	}
	if out := d.MustDocker("system", "df", "-v"); !strings.Contains(out, "SHARED SIZE") || !strings.Contains(out, "spare") {
		t.Errorf("verbose:\n%s", out)
	}

	for _, version := range []string{"1.42", "1.52", "1.56"} {
		c, err := moby.New(moby.WithHost(d.Host), moby.WithAPIVersion(version))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all, err := c.DiskUsage(t.Context(), moby.DiskUsageOptions{Verbose: true, Images: true, Containers: true, Volumes: true, BuildCache: true})
		if err != nil {
			t.Fatal(err)
		}
		if all.Images.TotalCount != 2 || all.Images.ActiveCount != 1 || all.Images.TotalSize < 6<<20 || all.Images.Reclaimable < 4<<20 || len(all.Images.Items) != 2 ||
			all.Containers.TotalCount != 2 || all.Containers.TotalSize < 3<<20 || len(all.Containers.Items) != 2 ||
			all.Volumes.ActiveCount != 1 || all.Volumes.Reclaimable < 3<<20 || all.Volumes.Reclaimable > 3<<20+8192 || len(all.Volumes.Items) != 2 || all.Volumes.Items[0].UsageData == nil {
			t.Errorf("API %s: %+v", version, all)
		}
		if some, err := c.DiskUsage(t.Context(), moby.DiskUsageOptions{Volumes: true}); err != nil || some.Volumes.TotalCount != 2 || some.Images.TotalCount != 0 {
			t.Errorf("API %s, volumes: %+v, %v", version, some, err)
		}
	}

	// what it calls reclaimable is what prune gives back
	usage := func() system.DiskUsage {
		c, err := moby.New(moby.WithHost(d.Host))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		u, err := c.DiskUsage(t.Context(), moby.DiskUsageOptions{Images: true})
		if err != nil {
			t.Fatal(err)
		}
		var out system.DiskUsage
		b, _ := json.Marshal(map[string]any{"ImageUsage": map[string]int64{"TotalSize": u.Images.TotalSize, "Reclaimable": u.Images.Reclaimable}})
		json.Unmarshal(b, &out)
		return out
	}
	before := usage().ImageUsage
	d.MustDocker("rmi", "unused")
	if after := usage().ImageUsage; after.Reclaimable != 0 || before.TotalSize-before.Reclaimable != after.TotalSize {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// system prune takes all that nothing uses.
func TestSystemPrune(t *testing.T) {
	t.Parallel()
	d := start(t)
	loadImage(d, "unused", busybox.Env("A=b"))
	d.MustDocker("network", "create", "lonely")
	d.MustDocker("volume", "create", "left")
	d.MustDocker("run", "--name", "over", "-v", "/anonymous", image, "true")
	out := d.MustDocker("system", "prune", "-af", "--volumes")
	for _, want := range []string{"Deleted Containers:", "Deleted Networks:\nlonely", "Deleted Volumes:", "untagged: unused:latest", "untagged: " + image, "Total reclaimed space: "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if left := d.MustDocker("ps", "-aq") + d.MustDocker("images", "-aq"); left != "" {
		t.Errorf("left: %s", left)
	}
	if left := onDisk(d); left != 0 {
		t.Errorf("%d bytes are left of no image", left)
	}
	if out := d.MustDocker("volume", "ls", "-q"); out != "left\n" {
		t.Errorf("volumes left: %q", out) // named ones need --all
	}
}
