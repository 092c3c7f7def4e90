package main

import (
	"context"

	"gantry/cmd/gantry/terminal"

	"github.com/spf13/cobra"
)

type exportOptions struct {
	index  int
	output string
}

func newExportCommand(c *cli) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use: "export [OPTIONS] SERVICE", Short: "Export a service container's filesystem as a tar archive",
		Args: exactArgs(1), ValidArgsFunction: c.oneService,
		RunE: c.raw(func(ctx context.Context, args []string) error { return runExport(ctx, c, o, args[0]) }),
	}
	cmd.Flags().IntVar(&o.index, "index", 0, "index of the container if service has multiple replicas.")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

// runExport is docker export of a service's container.
func runExport(ctx context.Context, c *cli, o exportOptions, service string) error {
	if o.output == "" && terminal.Is(c.out) {
		return usagef("output option is required when exporting to terminal")
	}
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	found, err := oneContainer(ctx, api, t, service, o.index, true)
	if err != nil {
		return err
	}
	args := []string{"container", "export"}
	if o.output != "" {
		args = append(args, "--output", o.output)
	}
	return runManagement(ctx, c, append(args, nameOf(found)))
}
