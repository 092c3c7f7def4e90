package main

import (
	"context"
	"errors"
	"fmt"

	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newImageRmCommand(c *cli) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] IMAGE [IMAGE...]", Aliases: []string{"remove"}, Short: "Remove one or more images",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: noCompletion,
		RunE: c.run(func(ctx context.Context, args []string) error { return runImageRm(ctx, c, args, force) }),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force removal of the image")
	return cmd
}

// runImageRm removes what it can and tells of the rest.
func runImageRm(ctx context.Context, c *cli, refs []string, force bool) error {
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	var errs []error
	for _, ref := range refs {
		r, err := api.ImageRemove(ctx, ref, engine.ImageRemoveOptions{Force: force, PruneChildren: true})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, i := range r.Items {
			if i.Deleted != "" {
				fmt.Fprintln(c.out, "Deleted:", i.Deleted)
			} else {
				fmt.Fprintln(c.out, "Untagged:", i.Untagged)
			}
		}
	}
	return errors.Join(errs...)
}
