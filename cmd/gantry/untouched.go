package main

import (
	"context"
	"slices"
	"sync"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
)

// telling notes which containers a display has been told of.
type telling struct {
	progress.Display
	mu    sync.Mutex
	told  map[string]bool
	steps int
	// quietBuild leaves out what builds tell of their steps
	quietBuild bool
}

func (d *telling) Event(e scheduler.Event) {
	if d.quietBuild && e.Verb == "build" && e.Status == scheduler.StatusProgress {
		return
	}
	switch e.Kind {
	case client.KindPlan:
		d.steps = int(e.Progress.Total)
	case "container":
		if e.Status == scheduler.StatusUnchanged {
			break
		}
		d.mu.Lock()
		if d.told == nil {
			d.told = map[string]bool{}
		}
		d.told[e.Name] = true
		d.mu.Unlock()
	}
	d.Display.Event(e)
}

// untouched shows those of the services' containers that were as they should
// be, so that an up with nothing to do says so.
func (d *telling) untouched(ctx context.Context, c *cli, t target, services []string, o client.UpOptions) error {
	if c.global.progress == string(progress.Quiet) {
		return nil
	}
	if len(services) > 0 && !o.NoDeps {
		var err error
		if services, err = t.definition.Closure(services...); err != nil {
			return err
		}
	}
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	list, err := containers(ctx, api, t.name, selection{services: services})
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s container.Summary) bool { return d.told[nameOf(s)] })
	if len(list) == 0 {
		return nil
	}
	d.Display.Event(client.PlanEvent(d.steps + len(list)))
	for i, s := range list {
		e := scheduler.Event{Step: i, Kind: "container", Name: nameOf(s), Verb: "wait", Status: scheduler.StatusDone, Condition: project.Started}
		if o.Wait && s.Health != nil && s.Health.Status == container.Healthy {
			e.Condition = project.Healthy
		}
		d.Display.Event(e)
	}
	return nil
}
