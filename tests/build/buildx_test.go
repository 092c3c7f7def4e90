package build_test

import (
	"runtime"
	"strings"
	"testing"
)

// Scripts ask buildx for its builder; there is one.
func TestBuilders(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	lines := strings.Split(d.MustDocker("buildx", "ls"), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "default*") || strings.Index(lines[2], "running") != strings.Index(lines[0], "STATUS") {
		t.Errorf("builders:\n%s", strings.Join(lines, "\n"))
	}
	for _, args := range [][]string{{"inspect", "--bootstrap"}, {"inspect", "default"}} {
		if out := d.MustDocker(append([]string{"buildx"}, args...)...); !strings.Contains(out, "Driver: docker\n") || !strings.Contains(out, "linux/"+runtime.GOARCH) {
			t.Errorf("%q: %s", args, out)
		}
	}
	for args, want := range map[string]string{"inspect other": `"other"`, "create --use": "one builder", "imagetools inspect x": "docker manifest", "bake": "docker compose build"} {
		if r := d.FailDocker(append([]string{"buildx"}, strings.Fields(args)...)...); !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %v", args, r)
		}
	}
}
