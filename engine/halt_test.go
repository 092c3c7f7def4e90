package engine_test

import (
	"path/filepath"
	"testing"
	"time"

	"gantry/engine"
	"gantry/tests/harness"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// When the host goes down, containers end as they like to, and nothing is
// started again; the next boot starts what has a policy, whatever code it ended
// with, save what a person stopped.
func TestHalt(t *testing.T) {
	t.Parallel()
	h := newHost(t, filepath.Join(harness.Binaries(t), "gantry-shim"))
	gentle := "trap 'echo ended well; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
	policy := func(name container.RestartPolicyMode) option {
		return func(r *container.CreateRequest) { r.HostConfig.RestartPolicy.Name = name }
	}
	short := func(r *container.CreateRequest) { seconds := 1; r.Config.StopTimeout = &seconds }
	ids := map[string]string{
		"always":     run(t, h.engine, gentle, always),
		"on-failure": run(t, h.engine, gentle, policy(container.RestartPolicyOnFailure)),
		"once":       run(t, h.engine, gentle),
		"removed":    run(t, h.engine, gentle, autoRemove),
		"stopped":    run(t, h.engine, gentle, always),
		"deaf":       run(t, h.engine, "trap '' TERM; echo ready; while :; do sleep 0.1; done", always, short),
		"failing":    run(t, h.engine, "echo ready; exit 3", always),
	}
	for _, id := range ids {
		said(t, h.engine, id, "ready")
	}
	if err := h.engine.StopContainer(t.Context(), ids["stopped"], engine.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, id := range ids {
		if name == "removed" {
			continue
		}
		if s := inspect(t, h.engine, id); s.Running && s.Pid != 0 {
			t.Errorf("%s still runs: %+v", name, s)
		} else if want := map[string]int{"deaf": 137, "failing": 3}[name]; s.ExitCode != want {
			t.Errorf("%s ended with %d", name, s.ExitCode)
		}
	}
	said(t, h.engine, ids["always"], "ended well")

	h.open(t)
	if err := h.engine.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.engine.InspectContainer(t.Context(), ids["removed"]); !errdefs.IsNotFound(err) {
		t.Errorf("what is to go with its end is there: %v", err)
	}
	for name, id := range ids {
		if name == "removed" || name == "failing" {
			continue
		}
		s := inspect(t, h.engine, id)
		if want := name != "once" && name != "stopped"; s.Running != want {
			t.Errorf("after the boot, %s: %+v", name, s)
		}
	}
	if err := h.engine.StopContainer(t.Context(), ids["failing"], engine.StopOptions{Timeout: new(time.Duration)}); err != nil && !errdefs.IsNotModified(err) {
		t.Error(err)
	}
}
