package build_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"gantry/tests/harness"
)

// Builds of the same and of other contexts, into the same and other names, side
// by side and beside what removes, make the images that they make alone; and
// leave nothing open in the daemon.
func TestBuildsSideBySide(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	const contexts = 3
	compose := "name: side\nservices:\n"
	for i := range contexts {
		d.Write(fmt.Sprintf("c%d/f", i), fmt.Sprint("content ", i))
		d.Write(fmt.Sprintf("c%d/Dockerfile", i), fmt.Sprintf("FROM %s\nRUN echo common > /c\nCOPY f /f\nRUN cat /f > /g; echo /%d >> /g\nCMD cat /g\n", image, i))
		compose += fmt.Sprintf("  s%d: {build: ../c%d}\n", i, i)
	}
	dir := d.Project("side", compose)
	open := func() int {
		t.Helper()
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	d.MustDocker("build", "-q", "-t", "first", "c0") // BuildKit is running from now on
	idle(d)
	before := open()

	var builds, others sync.WaitGroup
	over := make(chan struct{})
	others.Go(func() {
		removing := [][]string{{"builder", "prune", "-af"}, {"image", "prune", "-f"}, {"image", "rm", "one", "t0"}}
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			args := removing[i%len(removing)]
			if r := d.Docker(args...); r.Code != 0 && args[1] != "rm" {
				t.Error(r)
			}
		}
	})
	built := func(r harness.Result) {
		if r.Code != 0 {
			t.Error(r)
		}
	}
	for i := range 2 * contexts {
		builds.Go(func() { built(d.Docker("build", "-q", "-t", fmt.Sprint("t", i), fmt.Sprint("c", i%contexts))) })
		builds.Go(func() { built(d.Docker("build", "-q", "-t", "one", fmt.Sprint("c", i%contexts))) })
	}
	d.Write("broken/Dockerfile", "FROM "+image+"\nRUN exit 1\n")
	for range 2 {
		builds.Go(func() {
			if r := d.Docker("build", "-q", "broken"); r.Code == 0 {
				t.Error(r)
			}
		})
		builds.Go(func() { built(d.Gantry(dir, "build")) })
	}
	builds.Wait()
	close(over)
	others.Wait()

	for i := range contexts {
		want := fmt.Sprintf("content %d/%d\n", i, i)
		for _, name := range []string{fmt.Sprint("t", i+contexts), fmt.Sprint("side-s", i)} {
			if got := d.MustDocker("run", "--rm", name); got != want {
				t.Errorf("%s says %q, want %q", name, got, want)
			}
		}
	}
	harness.Eventually(t, "the daemon has closed what it opened", func() error {
		if n := open(); n > before+2 {
			return fmt.Errorf("%d descriptors are open, before the builds %d", n, before)
		}
		return nil
	})
	d.MustDocker("image", "prune", "-af")
}
