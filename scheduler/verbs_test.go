package scheduler_test

import (
	"testing"
	"time"

	"gantry/scheduler"
	"gantry/scheduler/memory"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// TestGoldenVerbs shows the plan of every verb on a stack that runs, with a
// one-off beside it.
func TestGoldenVerbs(t *testing.T) {
	p := stack()
	changed := func(name string, status container.ContainerState, code int) func(*testing.T, *memory.Driver) {
		return func(t *testing.T, d *memory.Driver) {
			t.Helper()
			if err := d.Edit(name, func(c *scheduler.Container) { c.Status, c.ExitCode = status, code }); err != nil {
				t.Fatal(err)
			}
		}
	}
	stopped := func(t *testing.T, d *memory.Driver) {
		t.Helper()
		plan, err := scheduler.BuildStop("shop", p, observe(t, d, scheduler.QueryProject("shop", p)), scheduler.StopOptions{})
		if err != nil {
			t.Fatal(err)
		}
		run(t, d, plan)
	}
	grace := 3 * time.Second
	for _, c := range []struct {
		name  string
		touch func(*testing.T, *memory.Driver)
		build func(s *scheduler.State) (*scheduler.Plan, error)
	}{
		{"down", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildDown("shop", p, s, scheduler.DownOptions{Timeout: &grace})
		}},
		{"down-by-labels", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildDown("shop", nil, s, scheduler.DownOptions{})
		}},
		{"down-volumes-images", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildDown("shop", p, s, scheduler.DownOptions{Volumes: true, Images: scheduler.RemoveAll})
		}},
		{"down-service", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildDown("shop", p, s, scheduler.DownOptions{Services: []string{"web"}, Volumes: true})
		}},
		{"stop", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildStop("shop", p, s, scheduler.StopOptions{})
		}},
		{"start", stopped, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildStart("shop", nil, s, scheduler.StartOptions{})
		}},
		{"start-wait", stopped, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildStart("shop", p, s, scheduler.StartOptions{Services: []string{"migrate"}, Wait: true, WaitTimeout: time.Minute})
		}},
		{"restart", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildRestart("shop", p, s, scheduler.RestartOptions{Services: []string{"app"}})
		}},
		{"kill", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildKill("shop", p, s, scheduler.KillOptions{Services: []string{"app"}, Signal: "SIGHUP"})
		}},
		{"pause", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildPause("shop", p, s, scheduler.PauseOptions{Services: []string{"db", "migrate"}})
		}},
		{"unpause", changed("shop-db-1", container.StatePaused, 0), func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildUnpause("shop", p, s, scheduler.PauseOptions{})
		}},
		{"rm", changed("shop-web-1", container.StateExited, 1), func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildRemove("shop", p, s, scheduler.RemoveOptions{})
		}},
		{"rm-stop", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildRemove("shop", p, s, scheduler.RemoveOptions{Services: []string{"app", "web"}, Stop: true, Volumes: true})
		}},
		{"pull", nil, func(s *scheduler.State) (*scheduler.Plan, error) {
			return scheduler.BuildPull(p, s, scheduler.PullOptions{Services: []string{"web"}, IncludeDeps: true})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := host()
			d.Publish("nginx", scheduler.Image{ID: "sha256:nginx"})
			d.Publish("img", scheduler.Image{ID: "sha256:img"})
			up(t, d, p, scheduler.Options{Seed: "before"})
			o := scheduler.OneOffOptions{Seed: "once", Service: "db", Name: "once"}
			once, _, err := scheduler.BuildOneOff(p, observe(t, d, scheduler.QueryOneOff(p, o)), o)
			if err != nil {
				t.Fatal(err)
			}
			run(t, d, once)
			if c.touch != nil {
				c.touch(t, d)
			}
			plan, err := c.build(observe(t, d, scheduler.QueryProject("shop", p)))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, plan.String())
			run(t, d, plan)
		})
	}
}

// TestDownLeavesWhatOthersUse checks networks and volumes that containers which
// stay are on.
func TestDownLeavesWhatOthersUse(t *testing.T) {
	d := host()
	p := shop(service("web", volume("shop_data", "/data")), service("old", volume("shop_data", "/data"), on("back")))
	up(t, d, p, scheduler.Options{Seed: "a"})
	plan, err := scheduler.BuildDown("shop", shop(service("web", volume("shop_data", "/data"))),
		observe(t, d, scheduler.Query{Project: "shop"}), scheduler.DownOptions{Volumes: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "down-orphan", plan.String())
	run(t, d, plan)
}

// TestDisabledServicesAreNoOrphans checks that what a profile turns off now is
// not taken for what the project no longer has.
func TestDisabledServicesAreNoOrphans(t *testing.T) {
	d := host()
	up(t, d, shop(service("web"), service("debug")), scheduler.Options{Seed: "a"})
	p := shop(service("web"))
	p.Disabled = []string{"debug"}
	if plan := build(t, d, p, scheduler.Options{Seed: "b", RemoveOrphans: true}); !plan.Empty() || len(plan.Warnings) > 0 {
		t.Errorf("a disabled service is touched:\n%s", plan)
	}
	down, err := scheduler.BuildDown("shop", p, observe(t, d, scheduler.Query{Project: "shop"}), scheduler.DownOptions{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, d, down)
	if left := observe(t, d, scheduler.Query{Project: "shop"}); len(left.Containers)+len(left.Networks) > 0 {
		t.Errorf("down left %v", left)
	}
}

func TestVerbsRefuseUnknownServices(t *testing.T) {
	p, s := shop(service("web")), &scheduler.State{}
	wrong := []string{"wbe"}
	for name, build := range map[string]func() (*scheduler.Plan, error){
		"down": func() (*scheduler.Plan, error) {
			return scheduler.BuildDown("shop", p, s, scheduler.DownOptions{Services: wrong})
		},
		"start": func() (*scheduler.Plan, error) {
			return scheduler.BuildStart("shop", p, s, scheduler.StartOptions{Services: wrong})
		},
		"no one": func() (*scheduler.Plan, error) {
			return scheduler.BuildStart("shop", p, s, scheduler.StartOptions{Services: []string{"web"}})
		},
		"stop": func() (*scheduler.Plan, error) {
			return scheduler.BuildStop("shop", p, s, scheduler.StopOptions{Services: wrong})
		},
		"restart": func() (*scheduler.Plan, error) {
			return scheduler.BuildRestart("shop", p, s, scheduler.RestartOptions{Services: wrong})
		},
		"kill": func() (*scheduler.Plan, error) {
			return scheduler.BuildKill("shop", p, s, scheduler.KillOptions{Services: wrong})
		},
		"rm": func() (*scheduler.Plan, error) {
			return scheduler.BuildRemove("shop", p, s, scheduler.RemoveOptions{Services: wrong})
		},
		"pull": func() (*scheduler.Plan, error) {
			return scheduler.BuildPull(p, s, scheduler.PullOptions{Services: wrong})
		},
		"run": func() (*scheduler.Plan, error) {
			plan, _, err := scheduler.BuildOneOff(p, s, scheduler.OneOffOptions{Service: "wbe"})
			return plan, err
		},
	} {
		if _, err := build(); !someIs(err, errdefs.IsNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
