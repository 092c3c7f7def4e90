package project

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/network"
)

var (
	projectName   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	serviceName   = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	platformName  = regexp.MustCompile(`^[a-z0-9]+(/[a-z0-9_]+(/[a-z0-9.]+)?)?$`)
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
)

// Check finds what would fail later, with a worse message: names that are not
// valid or wanted twice, dependencies that cannot be met or go in a circle,
// host ports and addresses that collide. It looks at nothing but the project,
// so that who receives one may call it too. It returns an *Error that wraps
// errdefs.ErrInvalidArgument.
func (p *Project) Check() error {
	c := &projectCheck{project: p}
	if !projectName.MatchString(p.Name) {
		c.problems = append(c.problems, Problem{Text: fmt.Sprintf(
			"project name %q must be lower-case letters, digits, - and _, and begin with a letter or digit", p.Name)})
	}
	c.names()
	for i := range p.Services {
		c.dependencies(&p.Services[i])
		c.attachments(&p.Services[i])
	}
	c.builds()
	c.ports()
	c.addresses()
	if err := newError(errdefs.ErrInvalidArgument, "", c.problems); err != nil {
		return err
	}
	_, err := p.Order()
	return err
}

type projectCheck struct {
	project  *Project
	problems []Problem
}

func (c *projectCheck) add(s *Service, at Position, format string, args ...any) {
	c.problems = append(c.problems, Problem{Position: at, Service: s.Name, Text: fmt.Sprintf(format, args...)})
}

func (c *projectCheck) names() {
	containers := map[string]string{}
	seen := map[string]bool{}
	for i := range c.project.Services {
		s := &c.project.Services[i]
		if !serviceName.MatchString(s.Name) {
			c.add(s, s.Source, "a service's name is letters, digits, ., - and _")
		}
		if i > 0 && c.project.Services[i-1].Name > s.Name || seen[s.Name] {
			c.add(s, s.Source, "services must be sorted by name, without repetition")
		}
		seen[s.Name] = true
		if _, err := reference.ParseAnyReference(s.Image); err != nil {
			c.add(s, s.position("image"), "image %q is not valid: %s", s.Image, err)
		}
		if s.Platform != "" && !platformName.MatchString(s.Platform) {
			c.add(s, s.position("platform"), "platform %q is not OS/ARCHITECTURE such as linux/amd64", s.Platform)
		}
		if s.Replicas < 0 {
			c.add(s, s.position("scale", "deploy.replicas", "deploy"), "replicas must not be negative")
		}
		if s.ContainerName == "" {
			continue
		}
		at := s.position("container_name")
		switch other, taken := containers[s.ContainerName]; {
		case !containerName.MatchString(s.ContainerName):
			c.add(s, at, "container_name %q must be letters, digits, _, . and -, and begin with a letter or digit", s.ContainerName)
		case taken:
			c.add(s, at, "container_name %q is also that of service %q", s.ContainerName, other)
		case s.Replicas > 1:
			c.add(s, at, "container_name %q can name one container only, but there are %d replicas; remove container_name or scale to 1",
				s.ContainerName, s.Replicas)
		}
		containers[s.ContainerName] = s.Name
	}
}

func (c *projectCheck) dependencies(s *Service) {
	for _, d := range s.DependsOn {
		at := s.position("depends_on."+d.Service, "depends_on")
		on, ok := c.project.Service(d.Service)
		if !ok {
			if d.Required {
				c.add(s, at, "depends on service %q, which is not part of the project", d.Service)
			}
			continue
		}
		h := on.Config.Healthcheck
		if d.Condition == Healthy && h != nil && len(h.Test) > 0 && h.Test[0] == "NONE" {
			c.add(s, at, "waits for service %q to be healthy, but that service's health check is disabled", d.Service)
		}
		if !slices.Contains([]Condition{Started, Healthy, Completed}, d.Condition) {
			c.add(s, at, "condition %q of depends_on is not known", d.Condition)
		}
	}
}

func (c *projectCheck) attachments(s *Service) {
	for _, a := range s.Networks {
		if c.network(a.Network) == nil {
			c.add(s, a.Source, "network %q is not part of the project", a.Network)
		}
	}
}

func (c *projectCheck) network(key string) *Network {
	for i := range c.project.Networks {
		if c.project.Networks[i].Key == key {
			return &c.project.Networks[i]
		}
	}
	return nil
}

// claim is a fixed host port that a service wants.
type claim struct {
	ip      netip.Addr
	service *Service
}

// ports finds host ports that two containers would want.
func (c *projectCheck) ports() {
	claims := map[string][]claim{}
	for i := range c.project.Services {
		s := &c.project.Services[i]
		if s.Replicas == 0 {
			continue
		}
		for _, port := range sortedPorts(s.HostConfig.PortBindings) {
			for _, b := range s.HostConfig.PortBindings[port] {
				c.port(claims, s, port, b)
			}
		}
	}
}

func (c *projectCheck) port(claims map[string][]claim, s *Service, port network.Port, b network.PortBinding) {
	if b.HostPort == "" {
		return
	}
	at := s.position("ports."+b.HostPort+"/"+string(port.Proto()), "ports")
	from, to, err := hostPorts(b.HostPort)
	if err != nil {
		c.add(s, at, "published port %q: %s", b.HostPort, err)
		return
	}
	if n := int(to-from) + 1; n < s.Replicas {
		if n == 1 {
			c.add(s, at, "%d replicas cannot all publish host port %s; publish a range, or only the container's port", s.Replicas, b.HostPort)
		} else {
			c.add(s, at, "%d replicas cannot share the %d host ports %s; publish a longer range", s.Replicas, n, b.HostPort)
		}
	}
	if from != to { // any free one is taken
		return
	}
	key := strconv.Itoa(int(from)) + "/" + string(port.Proto())
	for _, other := range claims[key] {
		if overlap(other.ip, b.HostIP) {
			who := fmt.Sprintf("service %q publishes it too", other.service.Name)
			if other.service == s {
				who = "it is published twice"
			}
			c.add(s, at, "host port %s: %s", key, who)
			break
		}
	}
	claims[key] = append(claims[key], claim{ip: b.HostIP, service: s})
}

// overlap tells whether two host addresses contain each other; the zero
// address is every one of both families.
func overlap(a, b netip.Addr) bool {
	switch {
	case !a.IsValid() || !b.IsValid() || a == b:
		return true
	case a.Is4() != b.Is4():
		return false
	}
	return a.IsUnspecified() || b.IsUnspecified()
}

func sortedPorts(m network.PortMap) []network.Port {
	return slices.SortedFunc(maps.Keys(m), func(a, b network.Port) int {
		if a.Num() != b.Num() {
			return int(a.Num()) - int(b.Num())
		}
		return slices.Compare([]byte(a.Proto()), []byte(b.Proto()))
	})
}

// addresses finds fixed addresses that cannot be given.
func (c *projectCheck) addresses() {
	taken := map[string]*Service{}
	for i := range c.project.Services {
		s := &c.project.Services[i]
		for _, a := range s.Networks {
			if a.Settings.IPAMConfig == nil {
				continue
			}
			for _, addr := range []netip.Addr{a.Settings.IPAMConfig.IPv4Address, a.Settings.IPAMConfig.IPv6Address} {
				if addr.IsValid() {
					c.address(taken, s, a, addr)
				}
			}
		}
	}
}

func (c *projectCheck) address(taken map[string]*Service, s *Service, a Attachment, addr netip.Addr) {
	key := a.Network + " " + addr.String()
	if other := taken[key]; other != nil {
		c.add(s, a.Source, "address %s on network %q is also that of service %q", addr, a.Network, other.Name)
	}
	taken[key] = s
	if s.Replicas > 1 {
		c.add(s, a.Source, "%d replicas cannot all have the address %s on network %q", s.Replicas, addr, a.Network)
	}
	n := c.network(a.Network)
	if n == nil || n.External {
		return
	}
	var subnets []netip.Prefix
	if n.Create.IPAM != nil {
		for _, pool := range n.Create.IPAM.Config {
			if pool.Subnet.IsValid() && pool.Subnet.Addr().Is4() == addr.Is4() {
				subnets = append(subnets, pool.Subnet)
			}
			if pool.Gateway == addr {
				c.add(s, a.Source, "address %s is the gateway of network %q", addr, a.Network)
			}
		}
	}
	switch {
	case len(subnets) == 0:
		c.add(s, a.Source, "the fixed address %s needs a subnet; give network %q one under ipam.config", addr, a.Network)
	case !slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Contains(addr) }):
		c.add(s, a.Source, "address %s is outside of network %q's subnets %v", addr, a.Network, subnets)
	}
}
