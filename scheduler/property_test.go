package scheduler_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/memory"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"pgregory.net/rapid"
)

// spec is a random service, in few numbers, so that it can be changed and
// still be a service that can run.
type spec struct {
	gone, probed, fixed, named, anonymous, port, second, static bool
	version, replicas                                           int
	deps                                                        map[int]dep // to services of lower number
	shares                                                      int         // index of the service whose network it shares, -1
	built, hooked                                               bool        // its image is built; it has hooks
}

type dep struct {
	cond              int
	optional, restart bool
}

func drawSpecs(t *rapid.T) []spec {
	specs := make([]spec, rapid.IntRange(1, 6).Draw(t, "services"))
	for i := range specs {
		specs[i] = drawSpec(t, i)
	}
	return specs
}

func drawSpec(t *rapid.T, i int) spec {
	flip := func(name string) bool { return rapid.Bool().Draw(t, fmt.Sprintf("%s%d", name, i)) }
	s := spec{
		gone: rapid.IntRange(0, 5).Draw(t, "gone") == 0, probed: flip("probed"), named: flip("named"), anonymous: flip("anonymous"),
		port: flip("port"), second: flip("second"), static: flip("static"),
		fixed:   rapid.IntRange(0, 4).Draw(t, "fixed") == 0,
		version: rapid.IntRange(1, 3).Draw(t, "version"), replicas: rapid.IntRange(0, 3).Draw(t, "replicas"),
		deps: map[int]dep{}, shares: -1, built: flip("built"), hooked: flip("hooked"),
	}
	for j := range i {
		if rapid.IntRange(0, 2).Draw(t, "dep") == 0 {
			s.deps[j] = dep{rapid.IntRange(0, 2).Draw(t, "cond"), flip("optional"), flip("restart")}
		}
	}
	if i > 0 && rapid.IntRange(0, 4).Draw(t, "share") == 0 {
		s.shares = rapid.IntRange(0, i-1).Draw(t, "owner")
	}
	return s
}

// render makes a project of specs. Contradictions are resolved: who is waited
// for to complete completes, and owns no namespace; who is waited for to be
// healthy has a probe; who has something that only one can have has one
// container.
func render(specs []spec, networkVersion int) *project.Project {
	name := func(i int) string { return fmt.Sprintf("s%d", i) }
	oneShot, owner := map[int]bool{}, map[int]bool{}
	for _, s := range specs {
		if s.shares >= 0 && !s.gone && !specs[s.shares].gone {
			owner[s.shares] = true
		}
	}
	for _, s := range specs {
		for j, d := range s.deps {
			if !s.gone && d.cond == 2 && !owner[j] {
				oneShot[j] = true
			}
		}
	}
	var services []project.Service
	for i, s := range specs {
		if s.gone {
			continue
		}
		edits := []func(*project.Service){scale(s.replicas)}
		if s.built {
			edits = append(edits, built(name(i)))
		}
		shares := s.shares >= 0 && !specs[s.shares].gone && !oneShot[i]
		single := func() { edits = append(edits, scale(1)) }
		if oneShot[i] {
			edits = append(edits, command("true"))
		} else if s.probed {
			edits = append(edits, probe("true"))
		}
		if s.hooked && !oneShot[i] {
			edits = append(edits, hooked("1"))
		}
		if s.named {
			edits = append(edits, volume("shop_data", "/data"))
		}
		if s.anonymous {
			edits = append(edits, volume("", "/cache"))
		}
		if s.second && !shares {
			edits = append(edits, on("back"))
		}
		if s.port && !shares {
			single()
			edits = append(edits, publish(fmt.Sprint(8000+i), "80/tcp"))
		}
		if s.static && !shares {
			single()
			edits = append(edits, address(fmt.Sprintf("10.0.0.%d", i+2)))
		}
		if s.fixed {
			single()
			edits = append(edits, named(fmt.Sprintf("fixed-%d", i)))
		}
		if owner[i] {
			edits = append(edits, func(s *project.Service) { s.Replicas = max(s.Replicas, 1) })
		}
		for j, d := range s.deps {
			if specs[j].gone {
				continue
			}
			cond := [3]project.Condition{project.Started, project.Healthy, project.Completed}[d.cond]
			switch {
			case oneShot[j] && cond == project.Healthy:
				cond = project.Completed
			case !oneShot[j] && (cond == project.Completed || !specs[j].probed):
				cond = project.Started
			}
			edits = append(edits, needs(name(j), cond, func(o *project.Dependency) { o.Required, o.Restart = !d.optional, d.restart }))
		}
		if shares {
			edits = append(edits, netOf(name(s.shares)))
		}
		edits = append(edits, func(svc *project.Service) { svc.Hash = hash(svc, s.version) })
		services = append(services, service(name(i), edits...))
	}
	p := shop(services...)
	for i := range p.Networks {
		if p.Networks[i].Key == "back" {
			p.Networks[i].Hash = fmt.Sprint(networkVersion)
		}
	}
	return label(p)
}

// hash is of all that a container is created with.
func hash(s *project.Service, version int) string {
	all, err := json.Marshal([]any{version, s.ContainerName, s.Config, s.HostConfig, s.Networks, s.PostStart, s.PreStop})
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(all))[:8]
}

// history is a project as it was brought up before, and as it is wanted now.
type history struct {
	driver      *memory.Driver
	old, wanted *project.Project
	options     scheduler.Options
}

func drawHistory(t *rapid.T) history {
	specs := drawSpecs(t)
	h := history{driver: host(), old: render(specs, 1)}
	up(t, h.driver, h.old, scheduler.Options{Seed: "old"})
	changed := slices.Clone(specs)
	for i := range changed {
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			changed[i].version++
		case 1:
			changed[i] = drawSpec(t, i)
		case 2:
			changed[i].replicas = rapid.IntRange(0, 3).Draw(t, "rescale")
		}
	}
	networkReplaced := rapid.Bool().Draw(t, "network")
	h.wanted = render(changed, map[bool]int{false: 1, true: 2}[networkReplaced])
	if rapid.IntRange(0, 5).Draw(t, "image") == 0 {
		h.driver.Load("img", scheduler.Image{ID: "sha256:other"})
	}
	for i := range specs { // what the sources are by now
		if rapid.IntRange(0, 2).Draw(t, "source") == 0 {
			h.driver.Source(fmt.Sprintf("s%d", i), scheduler.Image{ID: "sha256:rebuilt"})
		}
	}
	h.options = scheduler.Options{
		Builds:        scheduler.Builds{Always: rapid.Bool().Draw(t, "build")},
		Seed:          "now",
		RemoveOrphans: true, // an orphan could keep a network from being replaced
		Recreate:      rapid.SampledFrom([]scheduler.Recreate{"", "", scheduler.RecreateAlways}).Draw(t, "recreate"),
		RenewVolumes:  rapid.IntRange(0, 5).Draw(t, "renew") == 0,
		Wait:          rapid.Bool().Draw(t, "wait"),
	}
	// A container that outlives a crash after its network's removal is started
	// again, not replaced, and so keeps its volumes in spite of -V.
	h.options.RenewVolumes = h.options.RenewVolumes && !networkReplaced
	return h
}

// picture is what a person would call the same result: everything but IDs.
func picture(t tb, d *memory.Driver, known map[string]scheduler.Volume) []string {
	s := observe(t, d, scheduler.Query{Project: "shop"})
	names := map[string]string{}
	for _, c := range s.Containers {
		names[c.ID] = c.Name
	}
	var lines []string
	for _, c := range s.Containers {
		line := fmt.Sprintf("%s %s %d hash=%s image=%s %s owes=%d", c.Name, c.Service, c.Number, c.Hash, c.ImageID, c.Status, c.Owes)
		if id, ok := strings.CutPrefix(c.NetworkMode, "container:"); ok {
			line += " net of " + names[id]
		}
		for _, n := range slices.Sorted(maps.Keys(c.Networks)) {
			waits := c.Networks[n] == "" && c.Status == container.StateExited // for its next start
			line += fmt.Sprintf(" on %s %t", n, waits || s.Networks[n].ID == c.Networks[n])
		}
		for _, target := range slices.Sorted(maps.Keys(c.Anonymous)) {
			v := c.Anonymous[target]
			if _, ok := known[v]; !ok {
				v = "new"
			}
			line += fmt.Sprintf(" %s=%s", target, v)
		}
		lines = append(lines, line)
	}
	for name, n := range s.Networks {
		lines = append(lines, "network "+name+" "+n.Hash)
	}
	for name := range s.Volumes {
		lines = append(lines, "volume "+name)
	}
	slices.Sort(lines)
	return lines
}

// volumes are all that the containers of the project mount, with named ones.
func volumes(t tb, d *memory.Driver) map[string]scheduler.Volume {
	q := scheduler.Query{Project: "shop"}
	for _, c := range observe(t, d, q).Containers {
		for _, v := range c.Anonymous {
			q.Volumes = append(q.Volumes, v)
		}
	}
	return observe(t, d, q).Volumes
}

func TestSecondPlanIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		if plan := build(t, h.driver, h.old, scheduler.Options{Seed: "2"}); h.options.Recreate == "" && !plan.Empty() && !imageChanged(plan) {
			t.Fatalf("nothing has changed, yet:\n%s", plan)
		}
		up(t, h.driver, h.wanted, h.options)
		h.options.Recreate = ""
		if h.options.Builds.Always { // again: to the same content
			before := picture(t, h.driver, nil)
			ids := containerIDs(t, h.driver)
			plan := up(t, h.driver, h.wanted, h.options)
			if diff := cmp.Diff(before, picture(t, h.driver, nil)); diff != "" || !maps.Equal(ids, containerIDs(t, h.driver)) {
				t.Fatalf("images were built to the same content, yet (-before +after)\n%s\n%s", diff, plan)
			}
		}
		h.options.Builds.Always = false
		if plan := build(t, h.driver, h.wanted, h.options); !plan.Empty() {
			t.Fatalf("all is done, yet:\n%s", plan)
		}
	})
}

func containerIDs(t tb, d *memory.Driver) map[string]string {
	out := map[string]string{}
	for _, c := range observe(t, d, scheduler.Query{Project: "shop"}).Containers {
		out[c.ID] = string(c.Status)
	}
	return out
}

// TestConditionalPlanIsWhatACertainOneWouldBe compares up --build with a build
// and then an up, which knows what came of it.
func TestConditionalPlanIsWhatACertainOneWouldBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		known := volumes(t, h.driver)
		h.options.Builds.Always = true
		certain := h.driver.Clone()
		images, err := scheduler.BuildImages(h.wanted, observe(t, certain, scheduler.QueryProject("shop", h.wanted)), scheduler.ImageOptions{Seed: "images"})
		if err != nil {
			t.Fatal(err)
		}
		run(t, certain, images)
		sure := h.options
		sure.Builds.Always = false
		up(t, certain, h.wanted, sure)
		plan := up(t, h.driver, h.wanted, h.options)
		if diff := cmp.Diff(picture(t, certain, known), picture(t, h.driver, known)); diff != "" {
			t.Fatalf("(-certain +conditional)\n%s\n%s", diff, plan)
		}
	})
}

func imageChanged(p *scheduler.Plan) bool { return strings.Contains(p.String(), "image changed") }

// watch is a driver that checks, whenever a container starts, that what it
// depends on has reached its conditions.
type watch struct {
	scheduler.Driver
	p     *project.Project
	going map[string]bool // containers that the plan removes

	mu     sync.Mutex
	broken []string
}

func watched(d scheduler.Driver, p *project.Project, plan *scheduler.Plan) *watch {
	w := &watch{Driver: d, p: p, going: map[string]bool{}}
	for _, s := range plan.Steps {
		if r, ok := s.Action.(scheduler.RemoveContainer); ok && len(s.OnlyIf) == 0 {
			w.going[r.ID] = true
		}
	}
	return w
}

func (w *watch) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	if start, ok := a.(scheduler.StartContainer); ok {
		s, err := w.Observe(ctx, scheduler.Query{Project: w.p.Name})
		if err != nil {
			return err
		}
		w.mu.Lock()
		for _, svc := range w.p.Services {
			if svc.Name == start.Service {
				w.check(svc, s)
			}
		}
		w.mu.Unlock()
	}
	return w.Driver.Apply(ctx, a, report)
}

func (w *watch) check(svc project.Service, s *scheduler.State) {
	for _, d := range svc.DependsOn {
		for _, c := range s.Containers {
			replaced := slices.ContainsFunc(s.Containers, func(o scheduler.Container) bool { return o.Config.Labels[project.LabelReplace] == c.ID })
			if c.Service != d.Service || c.OneOff || w.going[c.ID] || replaced || !d.Required {
				continue
			}
			ok := c.Status == container.StateRunning || c.Status == container.StateExited && c.ExitCode == 0
			switch d.Condition {
			case project.Healthy:
				ok = c.Health == container.Healthy
			case project.Completed:
				ok = c.Status == container.StateExited && c.ExitCode == 0
			}
			if ok && c.Owes > 0 {
				w.broken = append(w.broken, fmt.Sprintf("%s started before the hooks of %s had run", svc.Name, c.Name))
			}
			if !ok {
				w.broken = append(w.broken, fmt.Sprintf("%s started while %s was %s %s, not %s", svc.Name, c.Name, c.Status, c.Health, d.Condition))
			}
		}
	}
}

func TestNothingStartsBeforeItsConditions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		plan := build(t, h.driver, h.wanted, h.options)
		w := watched(h.driver, h.wanted, plan)
		run(t, w, plan)
		if len(w.broken) > 0 {
			t.Fatalf("%s\n%s", strings.Join(w.broken, "\n"), plan)
		}
	})
}

func TestNothingIsDestroyedUnasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		before := volumes(t, h.driver)
		upPlan := up(t, h.driver, h.wanted, h.options)
		noVolumeGoes(t, upPlan)
		q := scheduler.Query{Project: "shop", Volumes: slices.Collect(maps.Keys(before))}
		after := observe(t, h.driver, q).Volumes
		for name := range before {
			if _, ok := after[name]; !ok {
				t.Fatalf("up removed volume %q:\n%s", name, upPlan)
			}
		}

		var p *project.Project
		if rapid.Bool().Draw(t, "down knows the project") {
			p = h.wanted
		}
		withVolumes := rapid.Bool().Draw(t, "down -v")
		state := observe(t, h.driver, scheduler.QueryProject("shop", p))
		down, err := scheduler.BuildDown("shop", p, state, scheduler.DownOptions{Volumes: withVolumes})
		if err != nil {
			t.Fatal(err)
		}
		if !withVolumes {
			noVolumeGoes(t, down)
		}
		allSayWhatGoes(t, down)
		run(t, h.driver, down)
		s := observe(t, h.driver, scheduler.Query{Project: "shop"})
		if len(s.Containers) > 0 || len(s.Networks) > 0 || withVolumes && len(s.Volumes) > 0 {
			t.Fatalf("down left %v\n%s", picture(t, h.driver, nil), down)
		}
	})
}

func noVolumeGoes(t *rapid.T, plan *scheduler.Plan) {
	for _, s := range plan.Steps {
		switch a := s.Action.(type) {
		case scheduler.RemoveVolume, scheduler.RemoveImage:
			t.Fatalf("unasked: %#v", a)
		case scheduler.RemoveContainer:
			if a.Volumes {
				t.Fatalf("unasked: %#v", a)
			}
		}
	}
	allSayWhatGoes(t, plan)
}

func allSayWhatGoes(t *rapid.T, plan *scheduler.Plan) {
	for _, s := range plan.Steps {
		switch s.Action.(type) {
		case scheduler.RemoveVolume, scheduler.RemoveImage, scheduler.RemoveContainer, scheduler.RemoveNetwork:
			if s.Destroys == "" {
				t.Fatalf("step %d destroys and does not say so:\n%s", s.ID, plan)
			}
		}
	}
}

var errCut = errors.New("cut off")

// TestCrashedPlanIsCompleted breaks a plan off anywhere, several times, also
// between a step's effect and its report, and lets single steps fail. What the
// next plan makes of it is what an undisturbed run makes, and then there is
// nothing left to do.
func TestCrashedPlanIsCompleted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		known := volumes(t, h.driver)
		calm := h.driver.Clone()
		up(t, calm, h.wanted, h.options)
		want := picture(t, calm, known)

		var plans []string
		for crash := range rapid.IntRange(1, 3).Draw(t, "crashes") {
			h.options.Seed = fmt.Sprint("crash", crash)
			plan := build(t, h.driver, h.wanted, h.options)
			plans = append(plans, plan.String())
			cut := rapid.IntRange(0, len(plan.Steps)).Draw(t, "cut")
			late := rapid.Bool().Draw(t, "late")
			unlucky := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 3).Draw(t, "unlucky")
			var mu sync.Mutex
			count := 0
			h.driver.Fault = func(scheduler.Action) (before, after error) {
				mu.Lock()
				defer mu.Unlock()
				count++
				switch {
				case slices.Contains(unlucky, count):
					return errCut, nil
				case count == cut && late:
					return nil, errCut
				case count > cut:
					return errCut, nil
				}
				return nil, nil
			}
			err := scheduler.Run(bounded(t), plan, h.driver, scheduler.RunOptions{Workers: rapid.IntRange(1, 4).Draw(t, "workers")}, nil)
			if err != nil && !errors.Is(err, errCut) {
				t.Fatalf("%v\n%s", err, strings.Join(plans, "\n"))
			}
		}
		h.driver.Fault = nil
		h.options.Seed = "after"
		plan := build(t, h.driver, h.wanted, h.options)
		plans = append(plans, plan.String())
		w := watched(h.driver, h.wanted, plan)
		if err := scheduler.Run(bounded(t), plan, w, scheduler.RunOptions{}, nil); err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(plans, "\n"))
		}
		if len(w.broken) > 0 {
			t.Fatalf("%s\n%s", strings.Join(w.broken, "\n"), plan)
		}
		if diff := cmp.Diff(want, picture(t, h.driver, known)); diff != "" {
			t.Fatalf("(-undisturbed +completed)\n%s\nplans:\n%s", diff, strings.Join(plans, "\n"))
		}
		h.options.Recreate, h.options.Builds.Always = "", false
		if plan := build(t, h.driver, h.wanted, h.options); !plan.Empty() {
			t.Fatalf("all is done, yet:\n%s\nafter:\n%s", plan, strings.Join(plans, "\n"))
		}
	})
}

func TestFailureSkipsDependants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		plan := build(t, h.driver, h.wanted, h.options)
		bad := map[string]bool{}
		for _, s := range plan.Steps {
			if rapid.IntRange(0, 6).Draw(t, "fails") == 0 {
				bad[fmt.Sprintf("%#v", s.Action)] = true
			}
		}
		h.driver.Fault = func(a scheduler.Action) (before, after error) {
			if bad[fmt.Sprintf("%#v", a)] {
				return errCut, nil
			}
			return nil, nil
		}
		status := make([]scheduler.Status, len(plan.Steps))
		err := scheduler.Run(bounded(t), plan, h.driver, scheduler.RunOptions{}, func(e scheduler.Event) { status[e.Step] = e.Status })
		fatalFailure := false
		for i, s := range plan.Steps {
			doomed := false
			for _, need := range s.Needs {
				if status[need] != scheduler.StatusDone && status[need] != scheduler.StatusUnchanged && !slices.Contains(s.Tolerate, need) {
					doomed = true
				}
			}
			switch {
			case doomed != (status[i] == scheduler.StatusSkipped):
				t.Fatalf("step %d ended %s:\n%s\n%v", i, status[i], plan, status)
			case !doomed && !bad[fmt.Sprintf("%#v", s.Action)] && status[i] != scheduler.StatusDone && status[i] != scheduler.StatusUnchanged && !errors.Is(err, errCut):
				t.Fatalf("step %d ended %s without cause:\n%s", i, status[i], plan)
			}
			fatalFailure = fatalFailure || status[i] == scheduler.StatusFailed && !s.Optional
		}
		if fatalFailure != (err != nil) {
			t.Fatalf("run returned %v for %v\n%s", err, status, plan)
		}
	})
}

func TestPlansAreDeterministicAndIDsUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHistory(t)
		first := build(t, h.driver, h.wanted, h.options)
		second := build(t, h.driver, h.wanted, h.options)
		if diff := cmp.Diff(first.String(), second.String()); diff != "" {
			t.Fatal(diff)
		}
		h.options.Seed = "other"
		other := build(t, h.driver, h.wanted, h.options)
		seen := map[string]bool{}
		for _, c := range observe(t, h.driver, scheduler.Query{Project: "shop"}).Containers {
			seen[c.ID] = true
		}
		for _, plan := range []*scheduler.Plan{first, other} {
			for i, s := range plan.Steps {
				for _, need := range s.Needs {
					if need >= i {
						t.Fatalf("step %d needs %d", i, need)
					}
				}
				if c, ok := s.Action.(scheduler.CreateContainer); ok {
					if seen[c.ID] || len(c.ID) != 64 {
						t.Fatalf("ID %q is used already, or is no ID:\n%s", c.ID, plan)
					}
					seen[c.ID] = true
				}
			}
		}
	})
}
