package scheduler_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/memory"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// golden compares a plan's text with testdata/NAME.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("plan %s (-want +got):\n%s", name, diff)
	}
}

func stack(edit ...func(*project.Service)) *project.Project {
	return shop(
		service("db", probe("true"), volume("shop_data", "/data")),
		service("migrate", command("true"), needs("db", project.Healthy)),
		service("app", append([]func(*project.Service){scale(2), volume("", "/cache"),
			needs("db", project.Healthy), needs("migrate", project.Completed)}, edit...)...),
		service("web", image("nginx"), publish("8080", "80/tcp"), needs("app", project.Started, restarts)),
	)
}

func TestGoldenUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  *project.Project // up before, nil: nothing
		touch   func(t *testing.T, d *memory.Driver)
		project *project.Project
		options scheduler.Options
	}{
		{name: "up-new", project: stack()},
		{name: "up-hooks", before: stack(hooked("1")), project: stack(hooked("2"))},
		{
			name: "up-hooks-owed", before: stack(hooked("1")), project: stack(hooked("1")),
			touch: func(t *testing.T, d *memory.Driver) {
				for name, owes := range map[string]int{"shop-app-1": 2, "shop-app-2": 1} {
					if err := d.Edit(name, func(c *scheduler.Container) { c.Owes = owes }); err != nil {
						t.Fatal(err)
					}
				}
			},
		},
		{name: "up-again", before: stack(), project: stack()},
		{name: "up-wait", project: stack(), options: scheduler.Options{Wait: true, WaitTimeout: time.Minute}},
		{name: "up-wait-again", before: stack(), project: stack(), options: scheduler.Options{Wait: true}},
		{name: "up-changed", before: stack(), project: stack(version("2"))},
		{name: "up-scale-down", before: stack(), project: stack(), options: scheduler.Options{Scale: map[string]int{"app": 1}}},
		{name: "up-one-service", project: stack(), options: scheduler.Options{Services: []string{"migrate"}}},
		{name: "up-no-deps", project: stack(), options: scheduler.Options{Services: []string{"app"}, NoDeps: true}},
		{name: "up-no-start", before: stack(), project: stack(version("2")), options: scheduler.Options{NoStart: true}},
		{name: "up-force", before: shop(service("a")), project: shop(service("a")), options: scheduler.Options{Recreate: scheduler.RecreateAlways}},
		{name: "up-optional", project: shop(service("a", probe("true")), service("b", needs("a", project.Healthy, optional)))},
		{name: "up-namespace", before: shop(service("vpn"), service("app", netOf("vpn"))), project: shop(service("vpn", version("2")), service("app", netOf("vpn")))},
		{name: "up-volumes-from", before: shop(service("data"), service("app", volumesOf("data:ro"))), project: shop(service("data", version("2")), service("app", volumesOf("data:ro")))},
		{name: "up-orphans", before: shop(service("a"), service("old")), project: shop(service("a")), options: scheduler.Options{RemoveOrphans: true}},
		{name: "up-orphans-left", before: shop(service("a"), service("old")), project: shop(service("a"))},
		{
			name: "up-network-changed", before: shop(service("a", version("1")), service("b", needs("a", project.Started))),
			project: func() *project.Project {
				p := shop(service("a"), service("b", needs("a", project.Started)))
				p.Networks[0].Hash = "2"
				return label(p)
			}(),
		},
		{
			name: "up-after-exit", before: shop(service("a"), service("b"), service("c")), project: shop(service("a"), service("b"), service("c")),
			touch: func(t *testing.T, d *memory.Driver) {
				set := func(name string, status container.ContainerState, code int) {
					if err := d.Edit(name, func(c *scheduler.Container) { c.Status, c.ExitCode = status, code }); err != nil {
						t.Fatal(err)
					}
				}
				set("shop-a-1", container.StateExited, 3)
				set("shop-b-1", container.StatePaused, 0)
				set("shop-c-1", container.StateDead, 0)
			},
		},
		{
			name: "up-newer-image", before: shop(service("a", image("nginx"))),
			project: shop(service("a", image("nginx"), func(s *project.Service) { s.PullPolicy = project.PullAlways })),
			options: scheduler.Options{Now: time.Unix(1e9, 0)},
			touch:   func(_ *testing.T, d *memory.Driver) { d.Publish("nginx", scheduler.Image{ID: "sha256:newer"}) },
		},
		{
			name: "up-moved-port", before: shop(service("a", publish("80", "80/tcp")), service("b")),
			project: shop(service("a", version("2")), service("b", version("2"), publish("80", "80/tcp"))),
		},
		{name: "up-builds", project: shop(
			service("a", built("base"), probe("true")), service("b", built("b", from("a"))), service("c", built("example.com/c", imageGiven), needs("a", project.Healthy)),
			service("tool", built("base")))},
		{
			name: "up-build-again", options: scheduler.Options{Builds: scheduler.Builds{Always: true}},
			before:  shop(service("db", probe("true")), service("a", built("a")), service("b", netOf("a")), service("c", needs("a", project.Started, restarts)), service("d", needs("c", project.Started))),
			project: shop(service("db", probe("true")), service("a", built("a")), service("b", netOf("a")), service("c", needs("a", project.Started, restarts)), service("d", needs("c", project.Started))),
		},
		{
			name: "up-build-one-shot", options: scheduler.Options{Builds: scheduler.Builds{Always: true}, Wait: true},
			before:  shop(service("migrate", command("true")), service("web", built("web"), needs("migrate", project.Completed))),
			project: shop(service("migrate", command("true")), service("web", built("web"), needs("migrate", project.Completed))),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := host()
			d.Publish("nginx", scheduler.Image{ID: "sha256:nginx"})
			if c.before != nil {
				up(t, d, c.before, scheduler.Options{Seed: "before"})
			}
			if c.touch != nil {
				c.touch(t, d)
			}
			c.options.Seed = "now"
			plan := build(t, d, c.project, c.options)
			golden(t, c.name, plan.String())
			run(t, d, plan)
			if !c.options.NoStart && c.options.Services == nil {
				if again := build(t, d, c.project, c.options); !again.Empty() && c.options.Recreate == "" && !c.options.Builds.Always {
					t.Errorf("after the plan ran there is more to do:\n%s", again)
				}
			}
		})
	}
}
