package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/mount"
)

// Source: compose build specification, "Using build and image".
func TestWhetherAnImageIsPulledOrBuilt(t *testing.T) {
	policy := func(p project.PullPolicy) func(*project.Service) {
		return func(s *project.Service) { s.PullPolicy = p }
	}
	for _, c := range []struct {
		name               string
		edit               []func(*project.Service)
		present, published bool
		builds             scheduler.Builds
		pull               project.PullPolicy
		want               string // what comes first: "pull", "build", "" for neither, "refused"
	}{
		{name: "missing, its name is ours", published: true, want: "build"},
		{name: "missing, the registry has it", edit: edits(imageGiven), published: true, want: "pull"},
		{name: "missing, the registry has it not", edit: edits(imageGiven), want: "build"},
		{name: "present", edit: edits(imageGiven), present: true, published: true},
		{name: "--build", present: true, builds: scheduler.Builds{Always: true}, want: "build"},
		{name: "--build, the registry has it", edit: edits(imageGiven), published: true, builds: scheduler.Builds{Always: true}, want: "build"},
		{name: "policy build", edit: edits(imageGiven, policy(project.PullBuild)), present: true, published: true, want: "build"},
		{name: "policy build, --no-build", edit: edits(imageGiven, policy(project.PullBuild)), present: true, builds: scheduler.Builds{Never: true}},
		{name: "policy build, --pull missing", edit: edits(imageGiven, policy(project.PullBuild)), present: true, pull: project.PullMissing},
		{name: "policy never", edit: edits(imageGiven, policy(project.PullNever)), published: true, want: "build"},
		{name: "policy always", edit: edits(imageGiven, policy(project.PullAlways)), present: true, published: true, want: "pull"},
		{name: "policy always, the registry has it not", edit: edits(imageGiven, policy(project.PullAlways)), present: true},
		{name: "policy always, its name is ours", edit: edits(policy(project.PullAlways)), present: true, published: true},
		{name: "--no-build, missing", builds: scheduler.Builds{Never: true}, published: true, want: "refused"},
		{name: "--no-build, the registry has it", edit: edits(imageGiven), builds: scheduler.Builds{Never: true}, published: true, want: "pull"},
		{name: "--no-build, the registry has it not", edit: edits(imageGiven), builds: scheduler.Builds{Never: true}, want: "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := host()
			if c.present {
				d.Load("app", scheduler.Image{ID: "sha256:here"})
			}
			if c.published {
				d.Publish("app", scheduler.Image{ID: "sha256:published"})
			}
			p := shop(service("a", append(edits(built("app")), c.edit...)...))
			o := scheduler.Options{Seed: "x", Now: time.Unix(1e9, 0), Builds: c.builds, Pull: c.pull}
			plan, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, o)), o)
			got := ""
			switch {
			case err != nil:
				got = "refused"
			case strings.HasPrefix(plan.String(), "0 pull"):
				got = "pull"
			case strings.Contains(plan.String(), "0 build"):
				got = "build"
			}
			if got != c.want {
				t.Errorf("%q, want %q: %v\n%v", got, c.want, err, plan)
			}
			if err == nil {
				run(t, d, plan)
			}
		})
	}
}

func edits(e ...func(*project.Service)) []func(*project.Service) { return e }

func TestBuildsOfOneImageAreOneStep(t *testing.T) {
	p := shop(service("a", built("app"), from("base")), service("b", built("app"), from("base")), service("base", built("base")))
	plan, err := scheduler.BuildImages(p, observe(t, host(), scheduler.QueryProject("shop", p)), scheduler.ImageOptions{Seed: "x", Services: []string{"a", "b"}, Sessions: map[string]string{"a": "s1", "base": "s2"}})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, s := range plan.Steps {
		a := s.Action.(scheduler.BuildImage)
		got += fmt.Sprintln(a.Ref, a.Services, a.Session, a.Build.Contexts, s.Needs)
	}
	want := "base [base] s2 map[] []\napp [a b] s1 map[base:docker-image://base] [0]\n"
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if p.Services[0].Build.Contexts["base"] != "service:base" {
		t.Error("the plan changed the project")
	}
	if _, err := scheduler.BuildImages(shop(service("a")), observe(t, host(), scheduler.Query{Project: "shop"}), scheduler.ImageOptions{Services: []string{"a"}}); err == nil {
		t.Error("a service without build was not refused")
	}
}

// What one of the services that share an image has built, none pulls, and all
// are replaced when it has become another one.
func TestServicesThatShareAnImageAgree(t *testing.T) {
	p := shop(service("a", image("app")), service("b", built("app"), func(s *project.Service) { s.PullPolicy = project.PullBuild }))
	p.Services[0].Build, p.Services[0].ImageGiven, p.Services[1].ImageGiven = p.Services[1].Build, true, true
	d := host()
	d.Publish("app", scheduler.Image{ID: "sha256:published"})
	o := scheduler.Options{Seed: "x", Now: time.Unix(1e9, 0)}
	plan := func() *scheduler.Plan {
		t.Helper()
		plan, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, o)), o)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	first := plan()
	if text := first.String(); strings.Contains(text, "pull image") || strings.Count(text, "build image") != 1 {
		t.Errorf("plan:\n%s", text)
	}
	run(t, d, first)
	again := plan().String()
	for _, name := range []string{"shop-a-1", "shop-b-1"} {
		if !strings.Contains(again, "stop container "+name) || !strings.Contains(again, " if image app is not ") {
			t.Errorf("%s would not be replaced:\n%s", name, again)
		}
	}
}

// Images that containers mount are pulled, or built, before those are created.
func TestImagesToMountAreThereFirst(t *testing.T) {
	mounts := func(ref string) func(*project.Service) {
		return func(s *project.Service) {
			s.HostConfig.Mounts = append(s.HostConfig.Mounts, mount.Mount{Type: mount.TypeImage, Source: ref, Target: "/" + ref})
		}
	}
	p := shop(service("a", mounts("tools"), mounts("site")), service("b", built("site")))
	d := host()
	o := scheduler.Options{Seed: "x", Now: time.Unix(1e9, 0)}
	if _, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, o)), o); err == nil || !strings.Contains(err.Error(), `image "tools" to mount`) {
		t.Errorf("an image that nobody has: %v", err)
	}
	d.Publish("tools", scheduler.Image{ID: "sha256:tools"})
	plan, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, o)), o)
	if err != nil {
		t.Fatal(err)
	}
	if text := plan.String(); strings.Count(text, "pull image tools") != 1 || strings.Contains(text, "pull image site") {
		t.Errorf("plan:\n%s", text)
	}
	run(t, d, plan) // which refuses what is not there
	if again, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, o)), o); err != nil || !again.Empty() {
		t.Errorf("once more: %v, %v", again, err)
	}
}
