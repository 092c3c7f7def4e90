package scheduler_test

import (
	"slices"
	"strings"
	"testing"

	"gantry/project"
	"gantry/scheduler"

	"pgregory.net/rapid"
)

// TestChangeTouchesOnlyItsOwn edits one service. Only it is replaced, the new
// container being there before the old one stops; only those stop that depend
// on it with restart: true or share its namespaces; everything else that is
// started is a one-shot service that a started one waits for.
func TestChangeTouchesOnlyItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		d := host()
		old := render(specs, 1)
		up(t, d, old, scheduler.Options{Seed: "old"})
		if len(old.Services) == 0 {
			return
		}
		edited := rapid.SampledFrom(old.Services).Draw(t, "edited").Name
		p := render(specs, 1)
		byName := map[string]*project.Service{}
		for i := range p.Services {
			s := &p.Services[i]
			byName[s.Name] = s
			if s.Name == edited {
				s.Hash += "-edited"
				s.Config.Labels[project.LabelHash] = s.Hash
			}
		}
		replaced := map[string]bool{edited: true}
		stopped := map[string]bool{edited: true}
		for range p.Services { // until nothing is added, at most once round per service
			for name, s := range byName {
				if owner, ok := strings.CutPrefix(string(s.HostConfig.NetworkMode), "service:"); ok && replaced[owner] {
					replaced[name], stopped[name] = true, true
				}
				for _, dep := range s.DependsOn {
					stopped[name] = stopped[name] || dep.Restart && stopped[dep.Service]
				}
			}
		}
		before := len(d.Journal())
		plan := up(t, d, p, scheduler.Options{Seed: "new"})
		fresh := map[string]bool{} // IDs of old containers whose replacement exists
		for _, a := range d.Journal()[before:] {
			switch a := a.(type) {
			case scheduler.CreateContainer:
				fresh[a.Replaces] = true
				if !replaced[a.Service] {
					t.Fatalf("service %s is replaced, and %s was edited:\n%s", a.Service, edited, plan)
				}
			case scheduler.StopContainer:
				if !stopped[a.Service] {
					t.Fatalf("service %s is stopped, and %s was edited:\n%s", a.Service, edited, plan)
				}
				if replaced[a.Service] && !fresh[a.ID] {
					t.Fatalf("container %s stopped before its replacement was there:\n%s", a.Name, plan)
				}
			case scheduler.StartContainer:
				oneShot := byName[a.Service].Config.Cmd[0] == "true"
				if !stopped[a.Service] && !oneShot {
					t.Fatalf("service %s is started, and %s was edited:\n%s", a.Service, edited, plan)
				}
			case scheduler.CreateNetwork, scheduler.CreateVolume, scheduler.PullImage:
				t.Fatalf("%#v, and only service %s was edited:\n%s", a, edited, plan)
			}
		}
		for name := range stopped { // those that ran do so again
			for _, c := range observe(t, d, scheduler.Query{Project: "shop"}).Containers {
				if c.Service == name && c.Status != "running" && byName[name].Config.Cmd[0] != "true" {
					t.Fatalf("container %s is %s", c.Name, c.Status)
				}
			}
		}
	})
}

// TestDependantsStopFirst checks the order of `down` and `stop`, also by labels
// alone.
func TestDependantsStopFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		p := h.wanted
		if rapid.Bool().Draw(t, "by labels") {
			// A label tells what a container was created with: a later change of
			// depends_on alone recreates nothing, and only the project knows it.
			h.driver, p = host(), nil
		}
		up(t, h.driver, h.wanted, h.options)
		s := observe(t, h.driver, scheduler.Query{Project: "shop"})
		plan, err := scheduler.BuildStop("shop", p, s, scheduler.StopOptions{})
		if rapid.Bool().Draw(t, "down") {
			plan, err = scheduler.BuildDown("shop", p, s, scheduler.DownOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		before := len(h.driver.Journal())
		run(t, h.driver, plan)
		var stops []string // services, in order
		for _, a := range h.driver.Journal()[before:] {
			if stop, ok := a.(scheduler.StopContainer); ok {
				stops = append(stops, stop.Service)
			}
		}
		for _, svc := range h.wanted.Services {
			for _, dep := range svc.DependsOn {
				first := slices.Index(stops, dep.Service)
				for i, name := range stops {
					if name == svc.Name && first >= 0 && first < i {
						t.Fatalf("%s stopped before %s, which depends on it:\n%s", dep.Service, svc.Name, plan)
					}
				}
			}
		}
	})
}
