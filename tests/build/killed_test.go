package build_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// A daemon that is killed while it sends a build's files has mounted what it
// reads from; the next one unmounts that.
func TestDaemonKilledInAnExport(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	mounted := func() error {
		all, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(all)) {
			if strings.Contains(line, "buildkit-mount") && strings.Contains(line, filepath.Base(d.Dir)+"/") {
				return errors.New(line)
			}
		}
		return nil
	}
	d.Write("ctx/Dockerfile", "FROM "+image+"\n")
	build := d.DockerCommand(d.Dir, "build", "-o", "-", "ctx")
	unread, err := build.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Close()
	if err := build.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the image's files are being sent", func() error {
		if mounted() == nil {
			return os.ErrNotExist
		}
		return nil
	})
	d.Kill9()
	unread.Close()
	if build.Wait() == nil {
		t.Error("a build succeeded without its daemon")
	}
	d.Launch()
	if err := mounted(); err != nil {
		t.Errorf("left mounted: %v", err)
	}
}
