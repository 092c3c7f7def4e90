package scheduler_test

import (
	"slices"
	"testing"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/google/go-cmp/cmp"
)

func creations(p *scheduler.Plan) map[string]scheduler.CreateContainer {
	all := map[string]scheduler.CreateContainer{}
	for _, s := range p.Steps {
		if c, ok := s.Action.(scheduler.CreateContainer); ok {
			all[scheduler.Describe(c).Name] = c
		}
	}
	return all
}

func TestContainersCarryNamesAndLabels(t *testing.T) {
	d := host()
	p := shop(service("web", scale(2)), service("vpn", named("tunnel")), service("app", netOf("vpn"), func(s *project.Service) { s.HostConfig.PidMode = "service:web" }))
	all := creations(build(t, d, p, scheduler.Options{Seed: "a"}))
	web := all["shop-web-2"]
	if got := web.Config.Labels[project.LabelNumber] + web.Config.Labels[project.LabelOneOff]; got != "2False" || web.Number != 2 {
		t.Errorf("labels %v", web.Config.Labels)
	}
	if diff := cmp.Diff([]string{"shop-web-2", "web"}, web.Networks[0].Aliases); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"tunnel", "vpn"}, all["tunnel"].Networks[0].Aliases); diff != "" {
		t.Error(diff)
	}
	app := all["shop-app-1"].Host
	if string(app.NetworkMode) != "container:"+all["tunnel"].ID || string(app.PidMode) != "container:"+all["shop-web-1"].ID {
		t.Errorf("modes %q %q", app.NetworkMode, app.PidMode)
	}
	for _, s := range p.Services {
		if s.Config.Labels[project.LabelNumber] != "" {
			t.Errorf("the plan changed its project: %v", s)
		}
	}
}

// TestAnonymousVolumesAreCarriedOver checks which targets a replacement takes
// over: those that are anonymous volumes still.
func TestAnonymousVolumesAreCarriedOver(t *testing.T) {
	d := host()
	d.Load("img", scheduler.Image{ID: "sha256:img", Volumes: []string{"/image"}})
	up(t, d, shop(service("web", volume("", "/cache"), volume("", "/dropped"), volume("", "/named"))), scheduler.Options{Seed: "a"})
	old := find(t, d, "shop-web-1")
	next := shop(service("web", version("2"), volume("", "/cache"), volume("shop_named", "/named")))
	want := map[string]string{"/cache": old.Anonymous["/cache"], "/image": old.Anonymous["/image"]}

	plan := build(t, d, next, scheduler.Options{Seed: "b"})
	c := creations(plan)["shop-web-1"]
	if diff := cmp.Diff(want, c.Volumes); diff != "" || c.Replaces != old.ID || c.Config.Labels[project.LabelReplace] != old.ID {
		t.Errorf("%s replaces %q", diff, c.Replaces)
	}
	if got := creations(build(t, d, next, scheduler.Options{Seed: "b", RenewVolumes: true}))["shop-web-1"].Volumes; got != nil {
		t.Errorf("-V carried over %v", got)
	}
	run(t, d, plan)
	if diff := cmp.Diff(want, find(t, d, "shop-web-1").Anonymous); diff != "" {
		t.Error(diff)
	}
}

// TestSwappedNames checks that names which change hands find their new owners.
func TestSwappedNames(t *testing.T) {
	d := host()
	up(t, d, shop(service("a", named("x")), service("b", named("y"))), scheduler.Options{Seed: "1"})
	up(t, d, shop(service("a", named("y"), version("2")), service("b", named("x"), version("2"))), scheduler.Options{Seed: "2"})
	if a, b := find(t, d, "y"), find(t, d, "x"); a.Service != "a" || b.Service != "b" {
		t.Errorf("y is %s, x is %s", a.Service, b.Service)
	}
}

func TestNewNumbersFillGaps(t *testing.T) {
	d := host()
	p := shop(service("web", scale(3)))
	up(t, d, p, scheduler.Options{Seed: "1"})
	apply(t, d, scheduler.RemoveContainer{ID: find(t, d, "shop-web-2").ID, Force: true})
	all := creations(build(t, d, p, scheduler.Options{Seed: "2"}))
	if _, ok := all["shop-web-2"]; !ok || len(all) != 1 {
		t.Errorf("creates %v", all)
	}
}

// TestPullPolicies checks when an image is asked for and when it is pulled.
func TestPullPolicies(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		name     string
		policy   project.PullPolicy
		every    time.Duration
		local    scheduler.Image
		registry string
		want     string
	}{
		{name: "missing, present", local: scheduler.Image{ID: "1"}, registry: "2"},
		{name: "missing, absent", registry: "2", want: "not present"},
		{name: "always, same", policy: project.PullAlways, local: scheduler.Image{ID: "1"}, registry: "1"},
		{name: "always, newer", policy: project.PullAlways, local: scheduler.Image{ID: "1"}, registry: "2", want: "newer image"},
		{name: "refresh, young", policy: project.PullRefresh, every: time.Hour, local: scheduler.Image{ID: "1", Pulled: now.Add(-time.Minute)}, registry: "2"},
		{name: "refresh, old", policy: project.PullRefresh, every: time.Hour, local: scheduler.Image{ID: "1", Pulled: now.Add(-2 * time.Hour)}, registry: "2", want: "newer image"},
		{name: "refresh, registry away", policy: project.PullRefresh, every: time.Hour, local: scheduler.Image{ID: "1", Pulled: now.Add(-2 * time.Hour)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := host()
			if c.local.ID != "" {
				d.Load("x", c.local)
			}
			if c.registry != "" {
				d.Publish("x", scheduler.Image{ID: c.registry})
			}
			p := shop(service("web", image("x"), func(s *project.Service) { s.PullPolicy, s.PullEvery = c.policy, c.every }))
			o := scheduler.Options{Seed: "a", Now: now}
			got := ""
			for _, s := range build(t, d, p, o).Steps {
				if _, ok := s.Action.(scheduler.PullImage); ok {
					got = s.Cause
				}
			}
			if got != c.want {
				t.Errorf("pulls because %q, not %q", got, c.want)
			}
		})
	}
}

// TestOneOff checks that `run` brings up what it needs, and makes a container
// of its own that it leaves to be started.
func TestOneOff(t *testing.T) {
	d := host()
	p := shop(
		service("db", probe("true")),
		service("web", publish("8080", "80/tcp"), address("10.0.0.9"), needs("db", project.Healthy), named("front")),
		service("other"),
	)
	o := scheduler.OneOffOptions{Seed: "a", Service: "web", AutoRemove: true}
	plan, c, err := scheduler.BuildOneOff(p, observe(t, d, scheduler.QueryOneOff(p, o)), o)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "run", plan.String())
	if len(c.Host.PortBindings) > 0 || c.Networks[0].Settings.IPAMConfig != nil || !c.Host.AutoRemove || c.Config.Labels[project.LabelOneOff] != "True" {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff([]string{c.Name}, c.Networks[0].Aliases); diff != "" {
		t.Error(diff)
	}
	run(t, d, plan)
	if got := find(t, d, c.Name); got.Status != "created" || !got.OneOff {
		t.Errorf("%+v", got)
	}

	o = scheduler.OneOffOptions{Seed: "b", Service: "web", NoDeps: true, Name: "once", ServicePorts: true, UseAliases: true}
	plan, c, err = scheduler.BuildOneOff(p, observe(t, d, scheduler.QueryOneOff(p, o)), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Steps) != 1 || c.Name != "once" || len(c.Host.PortBindings) != 1 || !slices.Contains(c.Networks[0].Aliases, "web") {
		t.Errorf("%+v\n%s", c, plan)
	}
}
