package main

import (
	"context"

	"gantry/project"

	"github.com/docker/cli/cli/command/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newStatsCommand(c *cli) *cobra.Command {
	var o container.StatsOptions
	cmd := &cobra.Command{
		Use: "stats [OPTIONS] [SERVICE]", Short: "Display a live stream of container(s) resource usage statistics",
		Args: rangeArgs(0, 1), ValidArgsFunction: c.oneService,
		RunE: c.raw(func(ctx context.Context, args []string) error { return runStats(ctx, c, o, args) }),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all", "a", false, "Show all containers (default shows just running)")
	f.StringVar(&o.Format, "format", "", "Format output using a custom template:\n'table': table with headers (default)\n'table TEMPLATE': table using the given Go template\n'json': JSON, one object per line\n'TEMPLATE': the given Go template")
	f.BoolVar(&o.NoStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	f.BoolVar(&o.NoTrunc, "no-trunc", false, "Do not truncate output")
	return cmd
}

// runStats is docker stats of a project's containers, those to come included.
func runStats(ctx context.Context, c *cli, o container.StatsOptions, services []string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	o.Filters = make(engine.Filters).Add("label", project.LabelProject+"="+t.name)
	if len(services) > 0 {
		if _, err := t.containers(ctx, api, services); err != nil {
			return err
		}
		o.Filters.Add("label", project.LabelService+"="+services[0])
	}
	return newFront(c, c.name).Stats(ctx, c.conn.host(), &o)
}
