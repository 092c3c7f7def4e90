package scheduler_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/memory"

	"github.com/containerd/errdefs"
)

func at(path string, line int) func(*project.Service) {
	return func(s *project.Service) {
		s.Positions[path] = project.Position{File: "compose.yaml", Line: line, Column: 7}
	}
}

// TestProblems checks that what cannot work is said before anything changes,
// with service, place and class.
func TestProblems(t *testing.T) {
	foreign := func(t *testing.T, d *memory.Driver, c scheduler.CreateContainer) {
		t.Helper()
		c.Image = "img"
		apply(t, d, c)
	}
	external := func(p *project.Project) *project.Project {
		p.Networks[0].External = true
		p.Networks[0].Source = project.Position{File: "compose.yaml", Line: 40, Column: 3}
		p.Volumes = []project.Volume{{Key: "data", Name: "data", External: true}}
		return p
	}
	for _, c := range []struct {
		name    string
		before  func(t *testing.T, d *memory.Driver)
		project *project.Project
		options scheduler.Options
		class   func(error) bool
		want    []string // each is in the error
	}{
		{
			name: "missing image", project: shop(service("web", image("nope"), at("image", 4))),
			class: errdefs.IsNotFound, want: []string{`compose.yaml:4:7: service "web": image "nope" is not here and cannot be pulled`},
		},
		{
			name: "never pulled", project: shop(service("web", image("nope"), at("image", 4), func(s *project.Service) { s.PullPolicy = project.PullNever })),
			class: errdefs.IsNotFound, want: []string{`compose.yaml:4:7: service "web": image "nope" is not here and the pull policy is never`},
		},
		{
			name: "registry is away", project: shop(service("web", func(s *project.Service) { s.PullPolicy = project.PullAlways })),
			options: scheduler.Options{Now: time.Unix(1e9, 0)},
			class:   errdefs.IsNotFound, want: []string{`service "web": image "img" cannot be pulled`},
		},
		{
			name: "port in use", project: shop(service("web", publish("8080", "80/tcp"), at("ports.8080/tcp", 12))),
			before: func(_ *testing.T, d *memory.Driver) {
				d.Occupy(scheduler.HostPort{Port: 8080, Protocol: "tcp"}, "another process")
			},
			class: errdefs.IsFailedPrecondition, want: []string{`compose.yaml:12:7: service "web": port 8080/tcp is in use by another process`},
		},
		{
			name: "port of an orphan",
			before: func(t *testing.T, d *memory.Driver) {
				up(t, d, shop(service("old", publish("8080", "80/tcp"))), scheduler.Options{Seed: "old"})
			},
			project: shop(service("web", publish("8080", "80/tcp"))),
			class:   errdefs.IsFailedPrecondition, want: []string{`port 8080/tcp is in use by container "shop-old-1" of this project`},
		},
		{
			name: "port twice", project: shop(service("a", publish("80", "80/tcp")), service("b", publish("80", "81/tcp"))),
			class: errdefs.IsInvalidArgument, want: []string{`service "b": port 80/tcp is published by service "a" too`},
		},
		{
			name: "port of several containers", project: shop(service("a", publish("80", "80/tcp"), scale(2))),
			class: errdefs.IsInvalidArgument, want: []string{`service "a": 2 containers cannot all publish port 80/tcp`},
		},
		{
			name: "missing bind", project: shop(service("web", volume("shop_x", "/x"), bind("/nowhere", "/etc/x"), at("volumes.1", 20))),
			before: func(_ *testing.T, d *memory.Driver) { d.Miss("/nowhere") },
			class:  errdefs.IsNotFound, want: []string{`compose.yaml:20:7: service "web": bind source "/nowhere" does not exist`},
		},
		{
			name: "external", project: external(shop(service("web", volume("data", "/data")))),
			class: errdefs.IsNotFound, want: []string{`compose.yaml:40:3: network "shop_default" is external and does not exist`, `volume "data" is external and does not exist`},
		},
		{
			name: "foreign network", project: shop(service("web")),
			before: func(t *testing.T, d *memory.Driver) {
				n := scheduler.CreateNetwork{Name: "shop_default"}
				n.Create.Labels = map[string]string{project.LabelProject: "other"}
				apply(t, d, n)
			},
			class: errdefs.IsAlreadyExists, want: []string{`network "shop_default" exists and belongs to project "other"`},
		},
		{
			name: "foreign name", project: shop(service("web", named("front"), at("container_name", 6))),
			before: func(t *testing.T, d *memory.Driver) {
				foreign(t, d, scheduler.CreateContainer{ID: strings.Repeat("f", 64), Name: "front"})
			},
			class: errdefs.IsAlreadyExists, want: []string{`compose.yaml:6:7: service "web": the name "front" is taken by a container of no project`},
		},
		{
			name: "one name for two", project: shop(service("web", named("front"), scale(2))),
			class: errdefs.IsInvalidArgument, want: []string{`2 containers cannot all be named "front"`},
		},
		{
			name: "unknown service", project: shop(service("web")), options: scheduler.Options{Services: []string{"wbe"}, Scale: map[string]int{"x": 1}},
			class: errdefs.IsNotFound, want: []string{`no such service: "wbe"`, `no such service: "x"`},
		},
		{
			name: "no probe", project: shop(service("db"), service("web", needs("db", project.Healthy), at("depends_on.db", 9))),
			class: errdefs.IsFailedPrecondition, want: []string{`compose.yaml:9:7: service "web" waits until "db" is healthy, but that has no health check`},
		},
		{
			name: "no owner", project: shop(service("vpn", scale(0)), service("app", netOf("vpn"))),
			class: errdefs.IsFailedPrecondition, want: []string{`service "app": network_mode: service "vpn" has no container to share with`},
		},
		{
			name: "no volumes to take", project: shop(service("data", scale(0)), service("app", volumesOf("data"))),
			class: errdefs.IsFailedPrecondition, want: []string{`service "app": volumes_from: service "data" has no container to take volumes from`},
		},
		{
			name: "no container to join", project: shop(service("app", func(s *project.Service) { s.HostConfig.PidMode = "container:gone" })),
			class: errdefs.IsNotFound, want: []string{`service "app": pid: there is no container "gone"`},
		},
		{
			name: "cycle", project: shop(service("a", needs("b", project.Started)), service("b", needs("a", project.Started))),
			class: errdefs.IsInvalidArgument, want: []string{"dependency cycle: a -> b -> a"},
		},
		{
			name: "missing dependency", project: shop(service("a", needs("b", project.Started))),
			class: errdefs.IsNotFound, want: []string{`service "a" depends on "b", which is not there`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := host()
			if c.before != nil {
				c.before(t, d)
			}
			plan, err := scheduler.Build(c.project, observe(t, d, scheduler.QueryFor(c.project, c.options)), c.options)
			if err == nil || plan != nil {
				t.Fatalf("got a plan:\n%s", plan)
			}
			if !someIs(err, c.class) {
				t.Errorf("%v is of another class", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// someIs says that err, or one of the errors that it joins, is of a class.
func someIs(err error, class func(error) bool) bool {
	var all interface{ WrappedErrors() []error }
	if errors.As(err, &all) {
		for _, e := range all.WrappedErrors() {
			if class(e) {
				return true
			}
		}
	}
	return class(err)
}

// TestAllProblemsAtOnce checks that one error does not hide the next.
func TestAllProblemsAtOnce(t *testing.T) {
	d := host()
	d.Miss("/nowhere")
	p := shop(service("a", image("nope")), service("b", bind("/nowhere", "/x")), service("c", publish("80", "80/tcp")), service("d", publish("80", "80/tcp")))
	_, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, scheduler.Options{})), scheduler.Options{})
	for _, want := range []string{`service "a"`, `service "b"`, `service "d"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// TestRunningStackNeedsNothing checks that what runs stays up to date when its
// image, its registry or a bind's source is gone.
func TestRunningStackNeedsNothing(t *testing.T) {
	d := host()
	p := shop(service("web", bind("/srv", "/srv")))
	up(t, d, p, scheduler.Options{Seed: "a"})
	apply(t, d, scheduler.RemoveImage{Ref: "img"})
	d.Miss("/srv")
	if plan := build(t, d, p, scheduler.Options{Seed: "b"}); !plan.Empty() {
		t.Errorf("nothing has changed, yet:\n%s", plan)
	}
}

// TestVolumesAreWarnedAbout checks that a volume which is not as defined, or
// not the project's, is used and said so.
func TestVolumesAreWarnedAbout(t *testing.T) {
	d := host()
	apply(t, d, scheduler.CreateVolume{Name: "theirs", Labels: map[string]string{project.LabelProject: "other"}})
	apply(t, d, scheduler.CreateVolume{Name: "changed", Labels: map[string]string{project.LabelProject: "shop", project.LabelHash: "0"}})
	plan := build(t, d, shop(service("web", volume("theirs", "/a"), volume("changed", "/b"))), scheduler.Options{Seed: "a"})
	got := fmt.Sprint(plan.Warnings)
	for _, want := range []string{`volume "theirs" exists and belongs to project "other"`, `volume "changed" is not as defined any more`} {
		if !strings.Contains(got, want) {
			t.Errorf("warnings %q lack %q", got, want)
		}
	}
	run(t, d, plan)
	down, err := scheduler.BuildDown("shop", shop(service("web", volume("theirs", "/a"), volume("changed", "/b"))),
		observe(t, d, scheduler.Query{Project: "shop", Volumes: []string{"theirs", "changed"}}), scheduler.DownOptions{Volumes: true})
	if err != nil {
		t.Fatal(err)
	}
	if text := down.String(); strings.Contains(text, "remove volume theirs") || !strings.Contains(text, "remove volume changed") {
		t.Errorf("down -v removes only the project's own:\n%s", text)
	}
}

func apply(t *testing.T, d scheduler.Driver, a scheduler.Action) {
	t.Helper()
	if err := d.Apply(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
}
