package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gantry/network"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

// checkPorts refuses what cannot be published, before a container is made.
func checkPorts(h *container.HostConfig) error {
	for p, bs := range h.PortBindings {
		if proto := p.Proto(); proto != mobynet.TCP && proto != mobynet.UDP {
			return fmt.Errorf("port %s: publishing %s is not supported by Gantry, use tcp or udp: %w", p, proto, errdefs.ErrNotImplemented)
		}
		for _, b := range bs {
			from, to, err := hostRange(b.HostPort)
			if err != nil {
				return fmt.Errorf("port %s: %w", p, err)
			}
			if to < from {
				return fmt.Errorf("port %s: invalid range of host ports %q: %w", p, b.HostPort, errdefs.ErrInvalidArgument)
			}
		}
	}
	return nil
}

// publish opens the ports that a container publishes, unless all its networks
// are internal: then they wait until it is connected to another one.
func (e *Engine) publish(ctx context.Context, c *ctr, rec *record) error {
	had := c.state().Ports
	ports := e.portsOf(rec, had)
	if len(ports) == 0 || len(rec.Networks) == 0 {
		return nil
	}
	bound, err := e.net.Publish(ctx, c.id, ports)
	if errors.Is(err, network.ErrNoWayOut) {
		return nil
	}
	if err != nil {
		return err
	}
	m := mobynet.PortMap{}
	for _, b := range bound {
		p, ok := mobynet.PortFrom(b.ContainerPort, mobynet.IPProtocol(b.Proto))
		if !ok {
			return errJoin(fmt.Errorf("published port %d/%s: %w", b.ContainerPort, b.Proto, errdefs.ErrInvalidArgument), e.closePorts(ctx, c))
		}
		for _, ip := range b.Bound {
			m[p] = append(m[p], mobynet.PortBinding{HostIP: ip, HostPort: strconv.Itoa(int(b.HostPort))})
		}
	}
	if err := c.update(func(s *state) { s.Ports = m }); err != nil {
		return errJoin(err, e.closePorts(ctx, c)) // else they are taken when the container is started again
	}
	return nil
}

// portsOf are the ports that a container publishes. Those it had already, which
// an adopted container keeps, stand in for ephemeral ones.
func (e *Engine) portsOf(rec *record, had mobynet.PortMap) []network.Port {
	var out []network.Port
	if len(had) > 0 {
		for p, bs := range had {
			for _, b := range bs {
				n, _ := strconv.ParseUint(b.HostPort, 10, 16)
				out = append(out, network.Port{HostIP: b.HostIP, HostPort: uint16(n), ContainerPort: p.Num(), Proto: string(p.Proto())})
			}
		}
	} else {
		wanted := mobynet.PortMap{}
		for p, bs := range rec.HostConfig.PortBindings {
			wanted[p] = bs
		}
		if rec.HostConfig.PublishAllPorts {
			for p := range rec.Config.ExposedPorts {
				if len(wanted[p]) == 0 {
					wanted[p] = []mobynet.PortBinding{{}}
				}
			}
		}
		for p, bs := range wanted {
			for _, b := range bs {
				from, to, err := hostRange(b.HostPort)
				if err != nil {
					continue // create has refused it
				}
				out = append(out, network.Port{HostIP: b.HostIP, HostPort: from, HostPortEnd: to, ContainerPort: p.Num(), Proto: string(p.Proto())})
			}
		}
	}
	slices.SortFunc(out, func(a, b network.Port) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.Proto, b.Proto), a.HostIP.Compare(b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	return out
}

// hostRange reads a host port: "", "0", "8080" or "8080-8090".
func hostRange(s string) (from, to uint16, err error) {
	if s == "" {
		return 0, 0, nil
	}
	r, err := mobynet.ParsePortRange(s)
	if err != nil {
		return 0, 0, fmt.Errorf("host port %q: %v: %w", s, err, errdefs.ErrInvalidArgument)
	}
	return r.Start(), r.End(), nil
}

// busyPorts finds out which of the asked host ports cannot be bound now.
func (e *Engine) busyPorts(q scheduler.Query) map[scheduler.HostPort]string {
	out := map[scheduler.HostPort]string{}
	var ask []network.Port
	for _, p := range q.Ports {
		addr, _ := netip.ParseAddr(p.IP)
		ask = append(ask, network.Port{HostIP: addr, HostPort: p.Port, Proto: p.Protocol})
	}
	for i := range ask {
		for _, busy := range e.net.CheckPorts(ask[i : i+1]) {
			if busy.Holder == "" {
				out[q.Ports[i]] = "another process"
			} else if c, err := e.find(busy.Holder); err == nil && c.record().Config.Labels[labelProject] != q.Project {
				out[q.Ports[i]] = fmt.Sprintf("container %q", c.name())
			}
		}
	}
	return out
}

// fixedPorts are the host ports that a container always publishes, sorted.
func fixedPorts(m mobynet.PortMap) []scheduler.HostPort {
	var out []scheduler.HostPort
	for p, bs := range m {
		for _, b := range bs {
			from, to, err := hostRange(b.HostPort)
			if err != nil || from == 0 || to > from {
				continue
			}
			ip := ""
			if b.HostIP.IsValid() {
				ip = b.HostIP.String()
			}
			out = append(out, scheduler.HostPort{IP: ip, Port: from, Protocol: string(p.Proto())})
		}
	}
	slices.SortFunc(out, func(a, b scheduler.HostPort) int { return strings.Compare(a.String(), b.String()) })
	return out
}
