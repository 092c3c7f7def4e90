package main

import (
	"context"
	"maps"
	"slices"

	"gantry/api/client"

	"github.com/spf13/cobra"
)

func newScaleCommand(c *cli) *cobra.Command {
	var noDeps bool
	cmd := &cobra.Command{
		Use: "scale [SERVICE=REPLICAS...]", Short: "Scale services", Args: minimumArgs(1), ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, args []string) error { return runScale(ctx, c, noDeps, args) }),
	}
	cmd.Flags().BoolVar(&noDeps, "no-deps", false, "Don't start linked services")
	return cmd
}

// runScale is an up of the named services alone, with their number of replicas.
func runScale(ctx context.Context, c *cli, noDeps bool, args []string) error {
	scale, err := parseScale(args)
	if err != nil {
		return usagef("invalid argument: use SERVICE=REPLICAS such as web=3")
	}
	services := slices.Sorted(maps.Keys(scale))
	t, err := c.load(ctx, services...)
	if err != nil {
		return err
	}
	o := &createOptions{UpOptions: client.UpOptions{Scale: scale, NoDeps: noDeps, IgnoreOrphanWarning: c.envBool("COMPOSE_IGNORE_ORPHANS")}}
	return detached(ctx, c, t, client.VerbUp, services, o)
}
