package engine_test

import (
	"path/filepath"
	"sync"
	"testing"

	"gantry/engine"
	"gantry/tests/harness"

	"github.com/moby/moby/api/types/container"
)

// The cgroup that holds the containers' goes with the last of them, also when
// all go at once.
func TestCgroupGoesWithTheLastContainer(t *testing.T) {
	t.Parallel()
	h := newHost(t, filepath.Join(harness.Binaries(t), "gantry-shim"))
	var own []string
	for _, pattern := range []string{"/sys/fs/cgroup/gantry-", "/sys/fs/cgroup/*/gantry-"} {
		own = append(own, pattern+h.cfg.Instance)
	}
	there := func() (found []string) {
		for _, pattern := range own {
			dirs, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, dirs...)
		}
		return found
	}
	for range 40 {
		var ids []string
		for range 2 {
			ids = append(ids, run(t, h.engine, "true"))
		}
		if len(there()) == 0 {
			t.Fatal("no cgroup is looked for")
		}
		for _, id := range ids {
			ended, err := h.engine.WaitContainer(t.Context(), id, container.WaitConditionNotRunning)
			if err != nil {
				t.Fatal(err)
			}
			<-ended
		}
		var removals sync.WaitGroup
		for _, id := range ids {
			removals.Go(func() {
				if err := h.engine.RemoveContainer(t.Context(), id, engine.RemoveOptions{Force: true}); err != nil {
					t.Error(err)
				}
			})
		}
		removals.Wait()
		if left := there(); len(left) > 0 {
			t.Fatalf("left: %q", left)
		}
	}
}
