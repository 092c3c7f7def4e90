package main

import (
	"context"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"

	"github.com/spf13/cobra"
)

func newPullCommand(c *cli) *cobra.Command {
	var o client.PullOptions
	var quiet bool
	cmd := &cobra.Command{
		Use: "pull [OPTIONS] [SERVICE...]", Short: "Pull service images", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error {
			switch o.Policy {
			case "", "always", "missing":
			default:
				return usagef("invalid value for --policy: %q: use missing or always", o.Policy)
			}
			t, err := c.load(ctx, services...)
			if err != nil {
				return err
			}
			if quiet {
				c.global.progress = string(progress.Quiet)
			}
			return act(ctx, c, t, client.VerbPull, services, o)
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Pull without printing progress information")
	f.BoolVar(&o.IncludeDeps, "include-deps", false, "Also pull services declared as dependencies")
	f.BoolVar(&o.IgnoreBuildable, "ignore-buildable", false, "Ignore images that can be built")
	f.BoolVar(&o.IgnoreFailures, "ignore-pull-failures", false, "Pull what it can and ignores images with pull failures")
	f.StringVar(&o.Policy, "policy", "", `Apply pull policy ("missing"|"always")`)
	return cmd
}
