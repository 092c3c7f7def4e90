package scheduler_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/memory"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// tb is a *testing.T or a *rapid.T.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
	Cleanup(func())
}

// service makes a service of image "img" on the default network.
func service(name string, edit ...func(*project.Service)) project.Service {
	s := project.Service{
		Name: name, Image: "img", Replicas: 1, Hash: "1",
		Config:     container.Config{Cmd: []string{"sleep"}, Labels: map[string]string{}},
		HostConfig: container.HostConfig{NetworkMode: "shop_default"},
		Networks:   []project.Attachment{{Network: "default", Name: "shop_default", Aliases: []string{name}}},
		Source:     project.Position{File: "compose.yaml", Line: 10, Column: 3},
		Positions:  map[string]project.Position{},
	}
	for _, e := range edit {
		e(&s)
	}
	slices.SortFunc(s.DependsOn, func(a, b project.Dependency) int { return strings.Compare(a.Service, b.Service) })
	return s
}

func image(ref string) func(*project.Service) { return func(s *project.Service) { s.Image = ref } }

// built gives a service a build; its image is the build's result.
func built(ref string, edit ...func(*project.Service)) func(*project.Service) {
	return func(s *project.Service) {
		s.Image, s.Build = ref, &project.Build{Context: "/src"}
		for _, e := range edit {
			e(s)
		}
	}
}

func imageGiven(s *project.Service) { s.ImageGiven = true }

// from has a build begin with another service's image.
func from(service string) func(*project.Service) {
	return func(s *project.Service) { s.Build.Contexts = map[string]string{"base": "service:" + service} }
}

func command(cmd string) func(*project.Service) {
	return func(s *project.Service) { s.Config.Cmd = []string{cmd} }
}

func version(v string) func(*project.Service) { return func(s *project.Service) { s.Hash = v } }

func scale(n int) func(*project.Service) { return func(s *project.Service) { s.Replicas = n } }

func named(name string) func(*project.Service) {
	return func(s *project.Service) { s.ContainerName = name }
}

// probe gives a health check: "true" passes, "false" fails, else it never ends.
func probe(cmd string) func(*project.Service) {
	return func(s *project.Service) { s.Config.Healthcheck = &container.HealthConfig{Test: []string{"CMD", cmd}} }
}

func needs(service string, cond project.Condition, edit ...func(*project.Dependency)) func(*project.Service) {
	return func(s *project.Service) {
		d := project.Dependency{Service: service, Condition: cond, Required: true}
		for _, e := range edit {
			e(&d)
		}
		s.DependsOn = append(s.DependsOn, d)
	}
}

func optional(d *project.Dependency) { d.Required = false }
func restarts(d *project.Dependency) { d.Restart = true }

func volume(source, target string) func(*project.Service) {
	return func(s *project.Service) {
		s.HostConfig.Mounts = append(s.HostConfig.Mounts, mount.Mount{Type: mount.TypeVolume, Source: source, Target: target})
	}
}

func bind(source, target string) func(*project.Service) {
	return func(s *project.Service) {
		s.HostConfig.Mounts = append(s.HostConfig.Mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: target})
	}
}

func publish(host, port string) func(*project.Service) {
	return func(s *project.Service) {
		if s.HostConfig.PortBindings == nil {
			s.HostConfig.PortBindings = network.PortMap{}
		}
		p := network.MustParsePort(port)
		s.HostConfig.PortBindings[p] = append(s.HostConfig.PortBindings[p], network.PortBinding{HostPort: host})
	}
}

// volumesOf is SERVICE or SERVICE:MODE.
func volumesOf(from string) func(*project.Service) {
	return func(s *project.Service) {
		s.HostConfig.VolumesFrom = append(s.HostConfig.VolumesFrom, "service:"+from)
		other, _, _ := strings.Cut(from, ":")
		s.DependsOn = append(s.DependsOn, project.Dependency{Service: other, Condition: project.Started, Required: true})
	}
}

// netOf shares the network namespace of another service.
func netOf(other string) func(*project.Service) {
	return func(s *project.Service) {
		s.HostConfig.NetworkMode = container.NetworkMode("service:" + other)
		s.Networks = nil
		if !slices.ContainsFunc(s.DependsOn, func(d project.Dependency) bool { return d.Service == other }) {
			s.DependsOn = append(s.DependsOn, project.Dependency{Service: other, Condition: project.Started, Required: true, Restart: true})
		}
	}
}

func on(name string) func(*project.Service) {
	return func(s *project.Service) {
		s.Networks = append(s.Networks, project.Attachment{Network: name, Name: "shop_" + name, Aliases: []string{s.Name}})
	}
}

func address(ip string) func(*project.Service) {
	return func(s *project.Service) {
		s.Networks[0].Settings.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr(ip)}
	}
}

// shop makes a project of services, with the networks and volumes they use.
func shop(services ...project.Service) *project.Project {
	p := &project.Project{Name: "shop", Services: services}
	slices.SortFunc(p.Services, func(a, b project.Service) int { return strings.Compare(a.Name, b.Name) })
	networks, volumes := map[string]bool{}, map[string]bool{}
	for i := range p.Services {
		s := &p.Services[i]
		var depends []string
		for _, d := range s.DependsOn {
			depends = append(depends, fmt.Sprintf("%s:%s:%t", d.Service, d.Condition, d.Restart))
		}
		s.Config.Labels[project.LabelProject] = p.Name
		s.Config.Labels[project.LabelService] = s.Name
		s.Config.Labels[project.LabelHash] = s.Hash
		s.Config.Labels[project.LabelDependsOn] = strings.Join(depends, ",")
		for _, a := range s.Networks {
			networks[a.Network] = true
		}
		for _, m := range s.HostConfig.Mounts {
			if m.Type == mount.TypeVolume && m.Source != "" {
				volumes[m.Source] = true
			}
		}
	}
	for _, key := range keys(networks) {
		p.Networks = append(p.Networks, project.Network{Key: key, Name: "shop_" + key, Hash: "1"})
	}
	for _, name := range keys(volumes) {
		p.Volumes = append(p.Volumes, project.Volume{Key: name, Name: name, Hash: "1"})
	}
	return label(p)
}

// label writes the labels that networks and volumes are found by.
func label(p *project.Project) *project.Project {
	for i := range p.Networks {
		n := &p.Networks[i]
		n.Create.Labels = map[string]string{project.LabelProject: p.Name, project.LabelNetwork: n.Key, project.LabelHash: n.Hash}
	}
	for i := range p.Volumes {
		v := &p.Volumes[i]
		v.Labels = map[string]string{project.LabelProject: p.Name, project.LabelVolume: v.Key, project.LabelHash: v.Hash}
	}
	return p
}

func keys(m map[string]bool) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// host is a runtime that has image "img".
func host() *memory.Driver {
	d := memory.New()
	d.Load("img", scheduler.Image{ID: "sha256:img"})
	return d
}

func observe(t tb, d scheduler.Driver, q scheduler.Query) *scheduler.State {
	t.Helper()
	s, err := d.Observe(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func build(t tb, d scheduler.Driver, p *project.Project, o scheduler.Options) *scheduler.Plan {
	t.Helper()
	plan, err := scheduler.Build(p, observe(t, d, scheduler.QueryFor(p, o)), o)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func run(t tb, d scheduler.Driver, plan *scheduler.Plan) {
	t.Helper()
	if err := scheduler.Run(bounded(t), plan, d, scheduler.RunOptions{}, nil); err != nil {
		t.Fatalf("%v\nplan:\n%s", err, plan)
	}
}

// up brings p up and returns the plan that did.
func up(t tb, d scheduler.Driver, p *project.Project, o scheduler.Options) *scheduler.Plan {
	t.Helper()
	plan := build(t, d, p, o)
	run(t, d, plan)
	return plan
}

func find(t tb, d scheduler.Driver, name string) scheduler.Container {
	t.Helper()
	for _, c := range observe(t, d, scheduler.Query{Project: "shop"}).Containers {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %q", name)
	return scheduler.Container{}
}

// bounded is a context that ends a run which would hang.
func bounded(t tb) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// hooked has commands run after each start and before each stop.
func hooked(v string) func(*project.Service) {
	return func(s *project.Service) {
		s.PostStart = []project.Hook{{Command: []string{"migrate", v}}, {Command: []string{"warm"}}}
		s.PreStop = []project.Hook{{Command: []string{"drain"}}}
		s.Hash += v
	}
}
