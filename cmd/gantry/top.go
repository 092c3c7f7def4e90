package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newTopCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "top [SERVICES...]", Short: "Display the running processes", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runTop(ctx, c, services) }),
	}
}

func runTop(ctx context.Context, c *cli, services []string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	all, err := containers(ctx, api, t.name, selection{all: true})
	if err != nil {
		return err
	}
	if err := t.check(services, servicesOf(all)); err != nil {
		return err
	}
	var tops []processes
	for _, s := range all {
		if len(services) > 0 && !slices.Contains(services, s.Labels[project.LabelService]) ||
			s.State != container.StateRunning && s.State != container.StatePaused {
			continue
		}
		top, err := api.ContainerTop(ctx, s.ID, engine.ContainerTopOptions{})
		if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
			continue // it has ended meanwhile
		} else if err != nil {
			return err
		}
		tops = append(tops, processes{s.Labels[project.LabelService], numberOf(s.Labels), top.Titles, top.Processes})
	}
	return printTop(c.out, tops)
}

// processes are those of one container.
type processes struct {
	service string
	number  int
	titles  []string
	rows    [][]string
}

// printTop writes one table; titles that a container lacks stay empty.
func printTop(w io.Writer, tops []processes) error {
	titles := []string{"SERVICE", "#"}
	for _, p := range tops {
		for _, title := range p.titles {
			if !slices.Contains(titles[2:], title) {
				titles = append(titles, title)
			}
		}
	}
	if len(tops) == 0 {
		return nil
	}
	out := tabwriter.NewWriter(w, 4, 1, 2, ' ', 0)
	line := func(cells []string) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(out, "\t")
			}
			fmt.Fprint(out, cell)
		}
		fmt.Fprintln(out)
	}
	line(titles)
	for _, p := range tops {
		for _, row := range p.rows {
			cells := make([]string, len(titles))
			cells[0], cells[1] = p.service, strconv.Itoa(p.number)
			for i, value := range row {
				if i < len(p.titles) {
					cells[2+slices.Index(titles[2:], p.titles[i])] = value
				}
			}
			line(cells)
		}
	}
	return out.Flush()
}
