package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/engine"
	"gantry/tests/harness"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// open opens an engine with the programs of this tree.
func open(t *testing.T) *engine.Engine {
	t.Helper()
	return newEngine(t, filepath.Join(harness.Binaries(t), "gantry-shim"))
}

type option func(*container.CreateRequest)

func always(r *container.CreateRequest) {
	r.HostConfig.RestartPolicy.Name = container.RestartPolicyAlways
}

func autoRemove(r *container.CreateRequest) { r.HostConfig.AutoRemove = true }

// create makes a container without a network that runs a shell script.
func create(t *testing.T, e *engine.Engine, script string, opts ...option) string {
	t.Helper()
	init := true
	req := container.CreateRequest{
		Config:     &container.Config{Image: "busybox:latest", Cmd: []string{"sh", "-c", script}},
		HostConfig: &container.HostConfig{NetworkMode: "none", Init: &init},
	}
	for _, o := range opts {
		o(&req)
	}
	r, err := e.CreateContainer(t.Context(), "", "", req)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func run(t *testing.T, e *engine.Engine, script string, opts ...option) string {
	t.Helper()
	id := create(t, e, script, opts...)
	if err := e.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func inspect(t *testing.T, e *engine.Engine, id string) *container.State {
	t.Helper()
	r, err := e.InspectContainer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r.State
}

// said waits until the container has written a line.
func said(t *testing.T, e *engine.Engine, id, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, _, err := e.ContainerLogs(ctx, id, engine.LogOptions{Stdout: true, Stderr: true, Follow: true, Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		entry, err := r.Next()
		if err != nil {
			t.Fatalf("container said no %q: %v", line, err)
		}
		if strings.TrimSpace(string(entry.Line)) == line {
			return
		}
	}
}

// heard waits for an action among events.
func heard(t *testing.T, ch <-chan events.Message, action events.Action) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		select {
		case m, ok := <-ch:
			if !ok {
				t.Fatalf("events ended before %q", action)
			}
			if m.Action == action {
				return
			}
		case <-deadline.C:
			t.Fatalf("no event %q", action)
		}
	}
}

func TestKillEndsAPausedContainer(t *testing.T) {
	e := open(t)
	id := run(t, e, "exec sleep 1000")
	if err := e.PauseContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.KillContainer(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	if s := inspect(t, e, id); s.Status != container.StateExited || s.ExitCode != 137 {
		t.Errorf("state %s, exit code %d", s.Status, s.ExitCode)
	}
}

func TestStartOfAPausedContainerIsRefusedAndHarmless(t *testing.T) {
	e := open(t)
	id := run(t, e, "exec sleep 1000", autoRemove)
	if err := e.PauseContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), id); !errdefs.IsConflict(err) {
		t.Errorf("start: %v", err)
	}
	if s := inspect(t, e, id); s.Status != container.StatePaused {
		t.Errorf("it is %s", s.Status)
	}
}

func TestStopKeepsItsGraceWhenTheClientLeaves(t *testing.T) {
	e := open(t)
	id := run(t, e, "trap 'sleep 0.3; exit 7' TERM; echo ready; while :; do sleep 0.02; done")
	said(t, e, id, "ready")
	ctx, leave := context.WithCancel(t.Context())
	leave()
	grace := time.Minute
	if err := e.StopContainer(ctx, id, engine.StopOptions{Timeout: &grace}); err != nil {
		t.Fatal(err)
	}
	if s := inspect(t, e, id); s.ExitCode != 7 {
		t.Errorf("exit code %d, it was not left to end by itself", s.ExitCode)
	}
}

func TestKillCallsOffTheRestartOfACrashLoop(t *testing.T) {
	e := open(t)
	id := run(t, e, "exit 1", always)
	seen, err := e.Events(t.Context(), time.Unix(1, 0), time.Time{}, engine.Filters{"container": {id}, "event": {"die"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // by now it mostly waits
		heard(t, seen, events.ActionDie)
	}
	if err := e.KillContainer(t.Context(), id, "KILL"); err != nil && !errdefs.IsFailedPrecondition(err) {
		t.Fatal(err)
	}
	ended, err := e.WaitContainer(t.Context(), id, container.WaitConditionNotRunning)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("it is %s", inspect(t, e, id).Status)
	}
}

func TestNextExitKeepsItsCodeWhenThePolicyRestarts(t *testing.T) {
	e := open(t)
	id := create(t, e, "exit 5", always)
	for range 3 {
		ended, err := e.WaitContainer(t.Context(), id, container.WaitConditionNextExit)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(t.Context(), id); err != nil && !errdefs.IsNotModified(err) {
			t.Fatal(err)
		}
		if r := <-ended; r.StatusCode != 5 {
			t.Errorf("exit code %d", r.StatusCode)
		}
	}
}

func TestFailedCreateKeepsTheNamedVolume(t *testing.T) {
	e := open(t)
	_, err := e.CreateContainer(t.Context(), "", "", container.CreateRequest{
		Config:     &container.Config{Image: "busybox:latest", User: "nobody-has-this-name", Cmd: []string{"true"}, Volumes: map[string]struct{}{"/anon": {}}},
		HostConfig: &container.HostConfig{Binds: []string{"mine:/d"}, NetworkMode: "none"},
	})
	if err == nil {
		t.Fatal("created for a user that is not there")
	}
	list, err := e.ListVolumes(t.Context(), nil)
	if err != nil || len(list) != 1 || list[0].Name != "mine" {
		t.Errorf("volumes %v, %v", list, err)
	}
}

func TestRenamesAtOnceLeaveOneName(t *testing.T) {
	e := open(t)
	id := create(t, e, "true")
	names := []string{"one", "two", "three", "four"}
	var wg sync.WaitGroup
	for _, n := range names {
		wg.Go(func() {
			if err := e.RenameContainer(context.Background(), id, n); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r, err := e.InspectContainer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		_, err := e.InspectContainer(t.Context(), n)
		if "/"+n == r.Name != (err == nil) {
			t.Errorf("%q finds: %v, and its name is %q", n, err, r.Name)
		}
	}
	for _, n := range names {
		if "/"+n == r.Name {
			continue
		}
		other := create(t, e, "true")
		if err := e.RenameContainer(t.Context(), other, n); err != nil {
			t.Errorf("name %q is not free again: %v", n, err)
		}
	}
}

// Whatever is done to a container by several clients at once, each call
// answers, with an error of a class that says why not, and in the end it can be
// removed and nothing starts it again.
func TestStormOfVerbsEndsWell(t *testing.T) {
	e := open(t)
	now := time.Duration(0)
	verbs := []func(ctx context.Context, id string) error{
		func(ctx context.Context, id string) error { return e.StartContainer(ctx, id) },
		func(ctx context.Context, id string) error {
			return e.StopContainer(ctx, id, engine.StopOptions{Timeout: &now})
		},
		func(ctx context.Context, id string) error {
			return e.RestartContainer(ctx, id, engine.StopOptions{Timeout: &now})
		},
		func(ctx context.Context, id string) error { return e.KillContainer(ctx, id, "KILL") },
		func(ctx context.Context, id string) error { return e.PauseContainer(ctx, id) },
		func(ctx context.Context, id string) error { return e.UnpauseContainer(ctx, id) },
		func(ctx context.Context, id string) error {
			if err := e.RenameContainer(ctx, id, fmt.Sprintf("name%d", rand.IntN(9))); !errdefs.IsInvalidArgument(err) {
				return err
			}
			return nil // it has that name already
		},
		func(ctx context.Context, id string) error {
			_, err := e.CreateExec(ctx, id, container.ExecCreateRequest{Cmd: []string{"true"}})
			return err
		},
	}
	fine := func(err error) bool {
		return err == nil || errdefs.IsNotModified(err) || errdefs.IsConflict(err) || errdefs.IsFailedPrecondition(err) || errdefs.IsAlreadyExists(err)
	}
	for _, script := range []string{"exit 1", "sleep 0.05", "exec sleep 1000"} {
		t.Run(script, func(t *testing.T) {
			id := create(t, e, script, always)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 12 {
						ctx, cancel := context.WithCancel(context.Background())
						if rand.IntN(4) == 0 { // the client leaves
							cancel()
						}
						err := verbs[rand.IntN(len(verbs))](ctx, id)
						if ctx.Err() == nil && !fine(err) {
							t.Error(err)
						}
						cancel()
					}
				})
			}
			wg.Wait()
			if err := e.StartContainer(t.Context(), id); !fine(err) {
				t.Error(err)
			}
			if err := e.RemoveContainer(t.Context(), id, engine.RemoveOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			if err := e.StartContainer(t.Context(), id); !errdefs.IsNotFound(err) {
				t.Errorf("start of a removed container: %v", err)
			}
		})
	}
}
