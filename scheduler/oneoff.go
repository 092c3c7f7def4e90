package scheduler

import (
	"maps"
	"slices"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// BuildOneOff plans what `run` needs: the service's dependencies up and their
// conditions reached, then one more container of the service, created and not
// started. That container is also returned, since the caller attaches to it
// and starts it.
func BuildOneOff(p *project.Project, s *State, o OneOffOptions) (*Plan, CreateContainer, error) {
	svc := oneOffService(p, o)
	if svc == nil {
		return nil, CreateContainer{}, &problem{`no such service: "` + o.Service + `"`, errdefs.ErrNotFound}
	}
	b := newUp(p, s, o.dependencies(svc))
	b.oneOff(svc, o)
	plan, err := b.build()
	if err != nil {
		return nil, CreateContainer{}, err
	}
	return plan, b.work[oneOffKey].slots[0].create.Action.(CreateContainer), nil
}

// oneOffKey is the one-off container's place among the services of a plan: no
// service can have this name.
const oneOffKey = "\x00run"

// dependencies are the options under which the one-off's dependencies come up.
// No service in them means none, not all.
func (o OneOffOptions) dependencies(svc *project.Service) Options {
	up := Options{Seed: o.Seed, Now: o.Now, Pull: o.Pull, Builds: o.Builds, RemoveOrphans: o.RemoveOrphans, NoDeps: o.NoDeps}
	if !o.NoDeps {
		for _, d := range svc.DependsOn {
			up.Services = append(up.Services, d.Service)
		}
	}
	return up
}

// oneOffService is the service as its one-off container has it, nil when the
// project lacks it.
func oneOffService(p *project.Project, o OneOffOptions) *project.Service {
	i := slices.IndexFunc(p.Services, func(s project.Service) bool { return s.Name == o.Service })
	if i < 0 {
		return nil
	}
	svc := p.Services[i]
	if o.Config != nil {
		svc.Config = *o.Config
	}
	if o.Host != nil {
		svc.HostConfig = *o.Host
	}
	bindings := make(network.PortMap)
	if o.ServicePorts {
		maps.Copy(bindings, svc.HostConfig.PortBindings)
	}
	for port, b := range o.Publish {
		bindings[port] = append(slices.Clone(bindings[port]), b...)
	}
	svc.HostConfig.PortBindings = bindings
	// It ends when its command ends, whatever the service's policy is.
	svc.HostConfig.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyDisabled}
	svc.HostConfig.AutoRemove = o.AutoRemove
	svc.Replicas, svc.ContainerName = 1, o.Name
	// A fixed address belongs to the service's own container.
	svc.Networks = slices.Clone(svc.Networks)
	for i := range svc.Networks {
		settings := svc.Networks[i].Settings.Copy()
		settings.IPAMConfig, settings.MacAddress = nil, nil
		svc.Networks[i].Settings = *settings
	}
	return &svc
}
