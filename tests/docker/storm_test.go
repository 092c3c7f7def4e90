package docker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/containerd/errdefs"
	moby "github.com/moby/moby/client"
)

// lanes is how many clients work at a time.
const lanes = 4

// inLanes calls do for 0 to n-1, some at a time.
func inLanes(n int, do func(i int)) {
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for i := lane; i < n; i += lanes {
				do(i)
			}
		})
	}
	all.Wait()
}

// Of many containers at a time each one's output and exit code arrive, and
// nothing stays on the host. The bench runs 200.
func TestStormLosesNothingAndLeavesNothing(t *testing.T) {
	t.Parallel()
	d := start(t)
	inLanes(60, func(i int) {
		r := d.Docker("run", "--rm", "--name", fmt.Sprint("storm", i), image, "sh", "-c", fmt.Sprintf("echo out %d; echo err %d >&2; exit %d", i, i, i))
		if r.Code != i || r.Stdout != fmt.Sprintln("out", i) || r.Stderr != fmt.Sprintln("err", i) {
			t.Errorf("container %d: %v", i, r)
		}
	})
	if left := d.MustDocker("ps", "-aq"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	d.NoLeaks()
}

// The daemon is killed in the middle. What its clients had been told holds, the
// next daemon finishes what was begun, and nothing stays.
func TestStormSurvivesAKilledDaemon(t *testing.T) {
	t.Parallel()
	d := start(t)
	var finished atomic.Int32
	var killed atomic.Bool
	enough := make(chan struct{})
	var lanesDone sync.WaitGroup
	lanesDone.Go(func() {
		inLanes(200, func(i int) {
			if killed.Load() {
				return
			}
			r := d.Docker("run", "--rm", image, "sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i%100))
			switch {
			case r.Code == i%100 && r.Stdout == fmt.Sprintln(i):
				if finished.Add(1) == 10 {
					close(enough)
				}
			case !killed.Load():
				t.Errorf("container %d: %v", i, r)
			case r.Code != 125 && r.Code != i%100 && r.Code != 1:
				t.Errorf("container %d, whose daemon was killed: %v", i, r)
			}
		})
	})
	<-enough
	killed.Store(true)
	d.Kill9()
	lanesDone.Wait()
	d.Launch()
	if r := d.Docker("run", "--rm", image, "echo", "on"); r.Code != 0 || r.Stdout != "on\n" {
		t.Errorf("after the restart: %v", r)
	}
	harness.Eventually(t, "those that were started end and go", func() error {
		for l := range strings.Lines(d.MustDocker("ps", "-a", "--format", "{{.ID}} {{.State}}")) {
			if !strings.HasSuffix(l, " created\n") { // its client went before it started it
				return fmt.Errorf("container %s", l)
			}
		}
		return nil
	})
	if ids := strings.Fields(d.MustDocker("ps", "-aq")); len(ids) > 0 {
		d.MustDocker(append([]string{"rm"}, ids...)...)
	}
	d.NoLeaks()
}

// Containers that are made and removed, running or not, by many at a time.
func TestStormOfRemovals(t *testing.T) {
	t.Parallel()
	d := start(t)
	inLanes(24, func(i int) {
		verb := []string{"create"}
		if i%3 > 0 {
			verb = []string{"run", "-d", "-p", "127.0.0.1::80"}
		}
		id := strings.TrimSpace(d.MustDocker(append(verb, "--name", fmt.Sprint("c", i%lanes), image, "sleep", "1000")...))
		if out := d.MustDocker("rm", "-f", fmt.Sprint("c", i%lanes)); strings.TrimSpace(out) != fmt.Sprint("c", i%lanes) {
			t.Errorf("removed %q", out)
		}
		if r := d.FailDocker("inspect", id); !strings.Contains(strings.ToLower(r.Stderr), "no such object") {
			t.Errorf("after its removal: %v", r)
		}
	})
	d.NoLeaks()
}

// Many clients change one container at a time. Nothing hangs, what is refused
// is refused for a reason, and at last it obeys and can be removed.
func TestManyClientsOfOneContainer(t *testing.T) {
	t.Parallel()
	d := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "target", image, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.01; done"))
	none := 0
	verbs := map[string]func(c *moby.Client) error{
		"start": func(c *moby.Client) error {
			_, err := c.ContainerStart(ctx, id, moby.ContainerStartOptions{})
			return err
		},
		"stop": func(c *moby.Client) error {
			_, err := c.ContainerStop(ctx, id, moby.ContainerStopOptions{})
			return err
		},
		"restart": func(c *moby.Client) error {
			_, err := c.ContainerRestart(ctx, id, moby.ContainerRestartOptions{Timeout: &none})
			return err
		},
		"kill": func(c *moby.Client) error {
			_, err := c.ContainerKill(ctx, id, moby.ContainerKillOptions{Signal: "KILL"})
			return err
		},
		"pause": func(c *moby.Client) error {
			_, err := c.ContainerPause(ctx, id, moby.ContainerPauseOptions{})
			return err
		},
		"unpause": func(c *moby.Client) error {
			_, err := c.ContainerUnpause(ctx, id, moby.ContainerUnpauseOptions{})
			return err
		},
		"rename": func(c *moby.Client) error {
			_, err := c.ContainerRename(ctx, id, moby.ContainerRenameOptions{NewName: fmt.Sprint("target", rand.IntN(3))})
			return err
		},
	}
	names := []string{"start", "stop", "restart", "kill", "pause", "unpause", "rename"}
	clients := make([]*moby.Client, lanes)
	for i := range clients {
		c, err := moby.New(moby.WithHost(d.Host))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[i] = c
	}
	inLanes(80, func(i int) {
		verb := names[rand.IntN(len(names))]
		err := verbs[verb](clients[i%lanes])
		if err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotModified(err) && (verb != "rename" || !errdefs.IsInvalidArgument(err)) { // its own name
			t.Errorf("%s: %v", verb, err)
		}
	})
	if _, err := clients[0].ContainerRestart(ctx, id, moby.ContainerRestartOptions{Timeout: &none}); err != nil {
		t.Errorf("at last: %v", err)
	}
	if _, err := clients[0].ContainerRemove(ctx, id, moby.ContainerRemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("removing what runs: %v", err)
	}
	if got := inspect(d, id, "{{.State.Status}}"); got != "running" {
		t.Errorf("at last it is %s", got)
	}
	// several remove it: one does, the others are told that it goes or is gone
	var removed atomic.Int32
	inLanes(lanes, func(i int) {
		_, err := clients[i].ContainerRemove(ctx, id, moby.ContainerRemoveOptions{Force: true})
		if err == nil {
			removed.Add(1)
		} else if !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
			t.Errorf("remove: %v", err)
		}
	})
	if removed.Load() == 0 {
		t.Error("nobody removed it")
	}
	if left := strings.Fields(d.MustDocker("ps", "-aq")); slices.Contains(left, id) {
		t.Error("it is still there")
	}
	d.NoLeaks()
}
