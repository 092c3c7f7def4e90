package main

import (
	"context"

	"gantry/api/client"

	"github.com/spf13/cobra"
)

func newDownCommand(c *cli) *cobra.Command {
	var o client.DownOptions
	cmd := &cobra.Command{
		Use: "down [OPTIONS] [SERVICES]", Short: "Stop and remove containers, networks", ValidArgsFunction: c.serviceNames,
	}
	f := cmd.Flags()
	f.BoolVar(&o.RemoveOrphans, "remove-orphans", c.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	f.StringVar(&o.RemoveImages, "rmi", "", `Remove images used by services. "local" remove only images that don't have a custom tag ("local"|"all")`)
	f.IntP("timeout", "t", 0, "Specify a shutdown timeout in seconds")
	f.BoolVarP(&o.Volumes, "volumes", "v", false, `Remove named volumes declared in the "volumes" section of the Compose file and anonymous volumes attached to containers`)
	cmd.RegisterFlagCompletionFunc("rmi", cobra.FixedCompletions([]string{"local", "all"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = c.run(func(ctx context.Context, services []string) error {
		switch o.RemoveImages {
		case "", "all", "local":
		default:
			return usagef("invalid value for --rmi: %q: use local or all", o.RemoveImages)
		}
		t, err := c.find(ctx)
		if err != nil {
			return err
		}
		o.Timeout = secondsFlag(cmd, "timeout")
		return act(ctx, c, t, client.VerbDown, services, o)
	})
	return cmd
}
