package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
)

// selection picks containers of a project.
type selection struct {
	services []string // none: all
	all      bool     // not only running ones
	oneOff   bool     // those of run too
	index    int      // the number of the replica, 0 for all
}

// containers lists a project's containers by service and number.
func containers(ctx context.Context, api *engine.Client, name string, s selection) ([]container.Summary, error) {
	list, err := api.ContainerList(ctx, engine.ContainerListOptions{
		All: s.all, Filters: make(engine.Filters).Add("label", project.LabelProject+"="+name),
	})
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(list.Items, func(c container.Summary) bool {
		return !s.oneOff && isOneOff(c.Labels) ||
			len(s.services) > 0 && !slices.Contains(s.services, c.Labels[project.LabelService]) ||
			s.index > 0 && numberOf(c.Labels) != s.index
	})
	slices.SortFunc(found, func(a, b container.Summary) int {
		return cmp.Or(cmp.Compare(a.Labels[project.LabelService], b.Labels[project.LabelService]),
			cmp.Compare(numberOf(a.Labels), numberOf(b.Labels)), cmp.Compare(nameOf(a), nameOf(b)))
	})
	return found, nil
}

// oneContainer is the container that a verb on one service means: the replica
// of that index, or the first one that runs.
func oneContainer(ctx context.Context, api *engine.Client, t target, service string, index int, all bool) (container.Summary, error) {
	found, err := containers(ctx, api, t.name, selection{services: []string{service}, all: true, index: index})
	if err != nil {
		return container.Summary{}, err
	}
	for _, c := range found {
		if all || c.State == container.StateRunning || c.State == container.StatePaused {
			return c, nil
		}
	}
	if err := t.check([]string{service}, servicesOf(found)); err != nil {
		return container.Summary{}, err
	}
	if index > 0 {
		return container.Summary{}, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("service %q is not running container #%d", service, index))
	}
	return container.Summary{}, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("service %q is not running: start it with gantry up -d %s", service, service))
}

func isOneOff(labels map[string]string) bool {
	return strings.EqualFold(labels[project.LabelOneOff], "true")
}

func numberOf(labels map[string]string) int {
	n, err := strconv.Atoi(labels[project.LabelNumber])
	if err != nil {
		return 0 // one-off containers have none
	}
	return n
}

func nameOf(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// shortName leaves out what all containers of a project have in common.
func shortName(name, projectName string) string {
	return strings.TrimPrefix(name, projectName+"-")
}

func servicesOf(list []container.Summary) []string {
	var out []string
	for _, c := range list {
		out = append(out, c.Labels[project.LabelService])
	}
	slices.Sort(out)
	return slices.Compact(out)
}
