package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// stack is a project with a database, a one-shot service, an app and a front.
func (r *rig) stack(version string) *project.Project {
	network, volume := r.network("default"), r.volume("data")
	service := func(name string, edit func(*project.Service), deps ...project.Dependency) project.Service {
		s := project.Service{
			Name: name, Image: r.image, PullPolicy: project.PullNever, Replicas: 1, Hash: "1", DependsOn: deps,
			Config:     container.Config{Image: r.image, Cmd: []string{"sleep", "3600"}, StopSignal: "SIGKILL"},
			HostConfig: container.HostConfig{NetworkMode: container.NetworkMode(network.Name)},
			Networks:   []project.Attachment{{Network: "default", Name: network.Name, Aliases: []string{name}}},
		}
		edit(&s)
		s.Config.Labels = map[string]string{project.LabelProject: r.project, project.LabelService: name, project.LabelHash: s.Hash}
		return s
	}
	on := func(name string, cond project.Condition) project.Dependency {
		return project.Dependency{Service: name, Condition: cond, Required: true, Restart: true}
	}
	return &project.Project{
		Name: r.project,
		Services: []project.Service{
			service("app", func(s *project.Service) {
				s.Hash, s.Replicas = version, 2
				s.HostConfig.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: "/cache"}}
			}, on("db", project.Healthy), on("migrate", project.Completed)),
			service("db", func(s *project.Service) {
				s.Config.Healthcheck = health("true")
				s.HostConfig.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: volume.Name, Target: "/data"}}
			}),
			service("migrate", func(s *project.Service) { s.Config.Cmd = []string{"true"} }, on("db", project.Healthy)),
			service("web", func(*project.Service) {}, on("app", project.Started)),
		},
		Networks: []project.Network{{Key: "default", Name: network.Name, Create: network.Create, Hash: "hash-default"}},
		Volumes:  []project.Volume{{Key: "data", Name: volume.Name, Labels: volume.Labels, Hash: "hash-data"}},
	}
}

func (r *rig) build(p *project.Project, o scheduler.Options) *scheduler.Plan {
	r.Helper()
	plan, err := scheduler.Build(p, r.observe(scheduler.QueryFor(p, o)), o)
	if err != nil {
		r.Fatal(err)
	}
	return plan
}

func (r *rig) up(p *project.Project, seed string) *scheduler.Plan {
	r.Helper()
	plan := r.build(p, scheduler.Options{Seed: seed + r.project, Wait: true})
	if err := scheduler.Run(r.context(), plan, r.d, scheduler.RunOptions{}, nil); err != nil {
		r.Fatalf("%v\n%s", err, plan)
	}
	return plan
}

// upToDate checks that there is nothing to do, and that every container of the
// stack is there once, under its name, and as it should be.
func (r *rig) upToDate(p *project.Project) {
	r.Helper()
	if plan := r.build(p, scheduler.Options{Seed: "again" + r.project, Wait: true}); !plan.Empty() {
		r.Errorf("all is done, yet:\n%s", plan)
	}
	s := r.observe(scheduler.Query{})
	got := map[string]scheduler.Container{}
	for _, c := range s.Containers {
		got[c.Name] = c
	}
	if len(s.Containers) != 5 {
		r.Errorf("%d containers: %v", len(s.Containers), keys(got))
	}
	for i := range p.Services {
		svc := &p.Services[i]
		for n := 1; n <= svc.Replicas; n++ {
			want := container.StateRunning
			if svc.Name == "migrate" {
				want = container.StateExited
			}
			name := fmt.Sprintf("%s-%s-%d", r.project, svc.Name, n)
			if c := got[name]; c.Status != want || c.Hash != svc.Hash || c.Number != n || c.ExitCode != 0 {
				r.Errorf("container %q: %+v", name, c)
			}
		}
	}
}

// wholeProject brings a project up, again, changed, and down.
func wholeProject(r *rig) {
	p := r.stack("1")
	r.up(p, "first")
	r.upToDate(p)
	cache := r.observe(scheduler.Query{}).Containers
	volumes := map[string]bool{}
	for _, c := range cache {
		for _, v := range c.Anonymous {
			volumes[v] = true
		}
	}
	changed := r.stack("2")
	r.up(changed, "second")
	r.upToDate(changed)
	for _, c := range r.observe(scheduler.Query{}).Containers {
		for _, v := range c.Anonymous {
			if !volumes[v] {
				r.Errorf("container %q has volume %q, not one of %v", c.Name, v, keys(volumes))
			}
		}
	}
	plan, err := scheduler.BuildDown(r.project, nil, r.observe(scheduler.QueryProject(r.project, nil)), scheduler.DownOptions{})
	if err == nil {
		err = scheduler.Run(r.context(), plan, r.d, scheduler.RunOptions{}, nil)
	}
	if err != nil {
		r.Fatalf("%v\n%s", err, plan)
	}
	s := r.observe(scheduler.Query{})
	if len(s.Containers)+len(s.Networks) > 0 || s.Volumes[r.volume("data").Name].Name == "" {
		r.Errorf("down left %v and networks %v, and of volumes %v", s.Containers, keys(s.Networks), keys(s.Volumes))
	}
}

var errCut = errors.New("cut off")

// cut is a driver that stops working after some actions.
type cut struct {
	scheduler.Driver
	mu   sync.Mutex
	left int
}

func (c *cut) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	c.mu.Lock()
	c.left--
	left := c.left
	c.mu.Unlock()
	if left < 0 {
		return errCut
	}
	return c.Driver.Apply(ctx, a, report)
}

// interrupted breaks an update off at several places; the next one completes it.
func interrupted(r *rig) {
	r.up(r.stack("0"), "first")
	for i, after := range []int{2, 4, 6, 9, 11} {
		p := r.stack(fmt.Sprint(i + 1))
		plan := r.build(p, scheduler.Options{Seed: fmt.Sprint("cut", i, r.project)})
		err := scheduler.Run(r.context(), plan, &cut{Driver: r.d, left: after}, scheduler.RunOptions{Workers: 1}, nil)
		if after < len(plan.Steps) && !errors.Is(err, errCut) {
			r.Fatalf("%v\n%s", err, plan)
		}
		r.up(p, fmt.Sprint("after", i))
		r.upToDate(p)
	}
}
