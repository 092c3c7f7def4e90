package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
)

// consistency checks that what the active services of a model refer to exists
// and that their keys do not contradict each other. Rules: compose
// specification.
func consistency(model *types.Project, s *survey) error {
	c := &checker{model: model, survey: s}
	for _, name := range model.ServiceNames() {
		service := model.Services[name]
		c.service = name
		c.references(service)
		c.dependencies(service)
		c.contradictions(service)
		c.targets(service)
	}
	for _, key := range model.NetworkNames() {
		c.external(key, model.Networks[key])
	}
	return newError(errdefs.ErrInvalidArgument, "", c.problems)
}

// external refuses what would have no effect on a network that exists already.
func (c *checker) external(key string, n types.NetworkConfig) {
	if bool(n.External) && (n.Driver != "" || len(n.DriverOpts) > 0 || len(n.Ipam.Config) > 0 || n.Internal || n.Attachable ||
		n.EnableIPv4 != nil || n.EnableIPv6 != nil || len(n.Labels) > 0) {
		c.problems = append(c.problems, Problem{Position: c.survey.position("networks", key),
			Text: fmt.Sprintf("network %q is external; it takes no key but name", key)})
	}
}

type checker struct {
	model    *types.Project
	survey   *survey
	service  string
	problems []Problem
}

func (c *checker) add(path []string, format string, args ...any) {
	c.problems = append(c.problems, Problem{
		Position: c.survey.position(append([]string{"services", c.service}, path...)...),
		Service:  c.service, Text: fmt.Sprintf(format, args...),
	})
}

func (c *checker) references(s types.ServiceConfig) {
	if s.Image == "" && s.Build == nil && s.Provider == nil {
		c.add(nil, "no image; set image")
	}
	for key := range s.Networks {
		if _, ok := c.model.Networks[key]; !ok {
			c.add([]string{"networks", key}, "network %q is not defined; define it under the top-level key networks", key)
		}
	}
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeVolume || v.Source == "" {
			continue
		}
		if _, ok := c.model.Volumes[v.Source]; !ok {
			c.problems = append(c.problems, Problem{Position: c.survey.volume(c.service, v.Target), Service: c.service,
				Text: fmt.Sprintf("volume %q is not defined; define it under the top-level key volumes", v.Source)})
		}
	}
	for _, ref := range s.Configs {
		if _, ok := c.model.Configs[ref.Source]; !ok {
			c.add([]string{"configs"}, "config %q is not defined", ref.Source)
		}
	}
	for _, ref := range s.Secrets {
		if _, ok := c.model.Secrets[ref.Source]; !ok {
			c.add([]string{"secrets"}, "secret %q is not defined", ref.Source)
		}
	}
}

func (c *checker) dependencies(s types.ServiceConfig) {
	for name, d := range s.DependsOn {
		if _, ok := c.model.Services[name]; ok {
			continue
		}
		path := []string{"depends_on", name}
		for mode, ref := range map[string]string{"network_mode": s.NetworkMode, "ipc": s.Ipc, "pid": s.Pid} {
			if ref == types.ServicePrefix+name {
				path = []string{mode}
			}
		}
		if slices.ContainsFunc(s.VolumesFrom, func(from string) bool { from, _, _ = strings.Cut(from, ":"); return from == name }) {
			path = []string{"volumes_from"}
		}
		disabled, known := c.model.DisabledServices[name]
		switch {
		case !known:
			c.add(path, "depends on service %q, which is not defined", name)
		case d.Required && len(disabled.Profiles) > 0:
			profiles := slices.Sorted(slices.Values(disabled.Profiles))
			c.add(path, "depends on service %q, which is not active; enable its profile %q", name, strings.Join(profiles, `" or "`))
		}
	}
}

// enclosed says that all networks of a service are known to be internal.
func (c *checker) enclosed(s types.ServiceConfig) bool {
	for name := range s.Networks {
		if n, ok := c.model.Networks[name]; !ok || !n.Internal {
			return false
		}
	}
	return len(s.Networks) > 0
}

func (c *checker) contradictions(s types.ServiceConfig) {
	if s.NetworkMode != "" && len(s.Networks) > 0 {
		c.add([]string{"network_mode"}, "network_mode and networks exclude each other; keep one")
	}
	for key, links := range map[string][]string{"links": s.Links, "external_links": s.ExternalLinks} {
		if s.NetworkMode != "" && len(links) > 0 {
			c.add([]string{key}, "%s need a network of the project; remove them or network_mode", key)
		}
	}
	if len(s.Ports) > 0 && c.enclosed(s) {
		c.add([]string{"ports"}, "ports cannot be published: every network of the service is internal; add one that is not, or remove the ports")
	}
	if s.Scale != nil && *s.Scale < 0 {
		c.add([]string{"scale"}, "scale must not be negative")
	}
	if h := s.HealthCheck; h != nil && len(h.Test) > 0 && !slices.Contains([]string{"CMD", "CMD-SHELL", "NONE"}, h.Test[0]) {
		c.add([]string{"healthcheck", "test"}, "a health check's test starts with CMD, CMD-SHELL or NONE, not %q", h.Test[0])
	}
	if s.Deploy == nil {
		return
	}
	if r := s.Deploy.Replicas; r != nil {
		if s.Deploy.Mode == "global" && *r != 1 {
			c.add([]string{"deploy", "replicas"}, "mode: global is one container for the host, not %d replicas; keep one of the two", *r)
		}
		if *r < 0 {
			c.add([]string{"deploy", "replicas"}, "replicas must not be negative")
		}
		if s.Scale != nil && *s.Scale != *r {
			c.add([]string{"scale"}, "scale (%d) and deploy.replicas (%d) differ; keep one", *s.Scale, *r)
		}
	}
	limits, reserved := s.Deploy.Resources.Limits, s.Deploy.Resources.Reservations
	differ := func(key, other string, a, b any, set bool) {
		if set && a != b {
			c.add([]string{key}, "%s (%v) and deploy.resources.%s (%v) differ; keep one", key, a, other, b)
		}
	}
	if limits != nil {
		differ("cpus", "limits.cpus", s.CPUS, limits.NanoCPUs.Value(), s.CPUS != 0 && limits.NanoCPUs != 0)
		differ("mem_limit", "limits.memory", int64(s.MemLimit), int64(limits.MemoryBytes), s.MemLimit != 0 && limits.MemoryBytes != 0)
		differ("pids_limit", "limits.pids", s.PidsLimit, limits.Pids, s.PidsLimit != 0 && limits.Pids != 0)
	}
	if reserved != nil {
		differ("mem_reservation", "reservations.memory", int64(s.MemReservation), int64(reserved.MemoryBytes),
			s.MemReservation != 0 && reserved.MemoryBytes != 0)
	}
}

// targets finds paths in the container that two mounts want.
func (c *checker) targets(s types.ServiceConfig) {
	taken := map[string]string{}
	take := func(target, what string, at Position) {
		if other, ok := taken[target]; ok {
			c.problems = append(c.problems, Problem{Position: at, Service: c.service,
				Text: fmt.Sprintf("%s and %s both mount on %q; keep one", other, what, target)})
		}
		taken[target] = what
	}
	for i, t := range s.Tmpfs {
		target, _, _ := strings.Cut(t, ":")
		what := fmt.Sprintf("tmpfs.%d", i)
		take(target, what, c.survey.position("services", c.service, "tmpfs", fmt.Sprint(i)))
	}
	for i, v := range s.Volumes {
		take(v.Target, fmt.Sprintf("volumes.%d", i), c.survey.volume(c.service, v.Target))
	}
	for _, ref := range s.Secrets {
		take(secretTarget(ref), fmt.Sprintf("secret %q", ref.Source), c.survey.position("services", c.service, "secrets"))
	}
	for _, ref := range s.Configs {
		take(configTarget(ref), fmt.Sprintf("config %q", ref.Source), c.survey.position("services", c.service, "configs"))
	}
}
