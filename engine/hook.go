package engine

import (
	"context"
	"fmt"
	"strings"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
)

// owe notes, before a container is started for a plan, how many hooks follow.
func (e *Engine) owe(id string, hooks int) error {
	if hooks == 0 {
		return nil
	}
	c, err := e.find(id)
	if err != nil {
		return err
	}
	return c.update(func(s *state) { s.Owes = hooks })
}

// runHook runs a service's command in a container. One that is to run before a
// stop has nothing to do when the container has ended or is paused.
func (e *Engine) runHook(ctx context.Context, a scheduler.RunHook) error {
	c, err := e.find(a.ID)
	if err == nil {
		err = c.takesExecs()
	}
	if err != nil {
		if a.When == project.PreStop {
			return nil
		}
		return fmt.Errorf("%s of service %q: %w", a.When, a.Service, err)
	}
	h := a.Hook
	x := e.newExec(c, container.ExecCreateRequest{
		User: h.User, Privileged: h.Privileged, Env: h.Env, WorkingDir: h.WorkingDir, Cmd: h.Command, AttachStdout: true, AttachStderr: true,
	})
	var out headBuffer
	code, err := e.runExec(ctx, x, &out)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d: %w", code, errdefs.ErrFailedPrecondition)
	}
	if err == nil {
		log.G(ctx).Debugf("container %q: %s %q is done", c.name(), a.When, h.Command[0])
		if a.When != project.PostStart {
			return nil
		}
		return c.update(func(s *state) { s.Owes = a.Owes })
	}
	if a.When == project.PreStop {
		err = fmt.Errorf("%w: it goes on running (kill ends it without hooks)", err)
	}
	if said := strings.TrimSpace(out.String()); said != "" {
		return fmt.Errorf("%s of service %q: %w\n%s", a.When, a.Service, err, said)
	}
	return fmt.Errorf("%s of service %q: %w", a.When, a.Service, err)
}
