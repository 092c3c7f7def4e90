package docker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A kill thaws a paused container below everybody's feet; an unpause at that
// moment finds what it wanted.
func TestUnpauseOfWhatWasThawed(t *testing.T) {
	t.Parallel()
	d := start(t)
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "one", image, "sleep", "1000"))
	d.MustDocker("pause", "one")
	thawed := 0
	for pattern, value := range map[string]string{
		"/sys/fs/cgroup/freezer/gantry-*/" + id + "/freezer.state": "THAWED", "/sys/fs/cgroup/gantry-*/" + id + "/cgroup.freeze": "0",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte(value), 0o644); err != nil {
				t.Fatal(err)
			}
			thawed++
		}
	}
	if thawed != 1 {
		t.Fatalf("%d cgroups of it were found", thawed)
	}
	d.MustDocker("unpause", "one")
	if got := inspect(d, "one", "{{.State.Status}} {{.State.Paused}}"); got != "running false" {
		t.Errorf("it is %s", got)
	}
}
