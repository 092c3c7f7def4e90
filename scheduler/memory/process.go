package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// startOwing starts the container, which has hooks to run then.
func (d *Driver) startOwing(c *ctr, hooks int) error {
	if hooks > 0 {
		c.Owes = hooks
	}
	return d.start(c)
}

// start runs the container's process, if all that it needs is there and what
// only one can hold is free.
func (d *Driver) start(c *ctr) error {
	switch c.Status {
	case container.StateRunning, container.StateRestarting:
		return nil
	case container.StateCreated, container.StateExited:
	default:
		return fmt.Errorf("container %q is %s: %w", c.Name, c.Status, errdefs.ErrFailedPrecondition)
	}
	for _, n := range c.create.Networks {
		network := d.networks[n.Name]
		if network != nil && c.Networks[n.Name] == "" {
			c.Networks[n.Name] = network.ID
		}
		if network == nil || network.ID != c.Networks[n.Name] {
			return fmt.Errorf("container %q is not on network %q: %w", c.Name, n.Name, errdefs.ErrFailedPrecondition)
		}
	}
	if err := d.owners(c); err != nil {
		return err
	}
	for _, mode := range []string{c.NetworkMode, c.PidMode, c.IpcMode} {
		if id, ok := strings.CutPrefix(mode, "container:"); ok && !runs(d.containers[id]) {
			return fmt.Errorf("container %q shares a namespace of %q, which does not run: %w", c.Name, d.containers[id].Name, errdefs.ErrFailedPrecondition)
		}
	}
	for _, p := range c.Ports {
		if by, busy := d.busy[p]; busy {
			return fmt.Errorf("port %s is in use by %s: %w", p, by, errdefs.ErrFailedPrecondition)
		}
	}
	for _, other := range d.containers {
		if other == c || !runs(other) {
			continue
		}
		if slices.ContainsFunc(c.Ports, func(p scheduler.HostPort) bool { return slices.Contains(other.Ports, p) }) {
			return fmt.Errorf("container %q: its ports are in use by %q: %w", c.Name, other.Name, errdefs.ErrFailedPrecondition)
		}
		if address := sharedAddress(c, other); address != "" {
			return fmt.Errorf("container %q: address %s is in use by %q: %w", c.Name, address, other.Name, errdefs.ErrFailedPrecondition)
		}
	}
	c.Status, c.ExitCode, c.Health = container.StateRunning, 0, ""
	if h := c.Config.Healthcheck; h != nil && len(h.Test) > 1 && h.Test[0] == "CMD" {
		c.Health = map[string]container.HealthStatus{"true": container.Healthy, "false": container.Unhealthy}[h.Test[1]]
		if c.Health == "" {
			c.Health = container.Starting
		}
	}
	if cmd := c.Config.Cmd; len(cmd) > 0 {
		switch cmd[0] {
		case "true":
			return stop(c, 0)
		case "false":
			return stop(c, 1)
		}
	}
	return nil
}

// sharedAddress is a fixed address that both have, "" for none.
func sharedAddress(a, b *ctr) string {
	for _, x := range a.create.Networks {
		for _, y := range b.create.Networks {
			if x.Name != y.Name || x.Settings.IPAMConfig == nil || y.Settings.IPAMConfig == nil {
				continue
			}
			if ip := x.Settings.IPAMConfig.IPv4Address; ip.IsValid() && ip == y.Settings.IPAMConfig.IPv4Address {
				return ip.String()
			}
		}
	}
	return ""
}

// owners checks that the containers whose namespaces c shares exist.
func (d *Driver) owners(c *ctr) error {
	for _, mode := range []string{c.NetworkMode, c.PidMode, c.IpcMode} {
		id, ok := strings.CutPrefix(mode, "container:")
		if ok && d.containers[id] == nil {
			return fmt.Errorf("container %q shares a namespace of %q: %w", c.Name, id, errdefs.ErrNotFound)
		}
		if strings.HasPrefix(mode, "service:") {
			return fmt.Errorf("container %q: mode %q names no container: %w", c.Name, mode, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func stop(c *ctr, code int) error {
	if runs(c) {
		c.Status, c.ExitCode, c.Health = container.StateExited, code, ""
	}
	return nil
}

func turn(c *ctr, from, to container.ContainerState) error {
	if c.Status != from {
		return fmt.Errorf("container %q is %s, not %s: %w", c.Name, c.Status, from, errdefs.ErrFailedPrecondition)
	}
	c.Status = to
	return nil
}

// wait blocks until the container has reached the condition, or cannot any
// more.
func (d *Driver) wait(ctx context.Context, a scheduler.WaitContainer) error {
	if a.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.Timeout, fmt.Errorf("container %q is not %s after %s: %w", a.Name, a.Condition, a.Timeout, errdefs.ErrUnavailable))
		defer cancel()
	}
	for {
		d.mu.Lock()
		changed := d.changed
		c := d.containers[a.ID]
		var done bool
		var err error
		if c == nil {
			err = fmt.Errorf("container %q: %w", a.Name, errdefs.ErrNotFound)
		} else {
			done, err = waited(c, a.Condition)
		}
		if done {
			d.journal = append(d.journal, a)
		}
		d.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func waited(c *ctr, cond project.Condition) (bool, error) {
	if c.Status == container.StateExited {
		if cond == project.Completed && c.ExitCode == 0 {
			return true, nil
		}
		return false, fmt.Errorf("container %q exited (%d): %w", c.Name, c.ExitCode, errdefs.ErrFailedPrecondition)
	}
	if c.Status != container.StateRunning || cond == project.Completed {
		return false, nil
	}
	switch c.Health {
	case container.Unhealthy:
		return false, fmt.Errorf("container %q is unhealthy: %w", c.Name, errdefs.ErrFailedPrecondition)
	case container.Starting:
		return false, nil
	case container.Healthy:
		return true, nil
	}
	if cond == project.Healthy {
		return false, fmt.Errorf("container %q has no health check: %w", c.Name, errdefs.ErrFailedPrecondition)
	}
	return true, nil
}
