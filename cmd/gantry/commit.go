package main

import (
	"context"
	"fmt"

	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type commitOptions struct {
	pause           bool
	author, comment string
	changes         []string
	index           int
}

func newCommitCommand(c *cli) *cobra.Command {
	var o commitOptions
	cmd := &cobra.Command{
		Use: "commit [OPTIONS] SERVICE [REPOSITORY[:TAG]]", Short: "Create a new image from a service container's changes",
		Args: rangeArgs(1, 2), ValidArgsFunction: c.oneService,
		RunE: c.run(func(ctx context.Context, args []string) error {
			name := ""
			if len(args) > 1 {
				name = args[1]
			}
			return runCommit(ctx, c, o, args[0], name)
		}),
	}
	f := cmd.Flags()
	f.IntVar(&o.index, "index", 0, "index of the container if service has multiple replicas.")
	f.BoolVarP(&o.pause, "pause", "p", true, "Pause container during commit")
	f.StringVarP(&o.comment, "message", "m", "", "Commit message")
	f.StringVarP(&o.author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	f.StringArrayVarP(&o.changes, "change", "c", nil, "Apply Dockerfile instruction to the created image")
	return cmd
}

func runCommit(ctx context.Context, c *cli, o commitOptions, service, name string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	found, err := oneContainer(ctx, api, t, service, o.index, true)
	if err != nil {
		return err
	}
	done, err := api.ContainerCommit(ctx, found.ID, engine.ContainerCommitOptions{
		Reference: name, Comment: o.comment, Author: o.author, Changes: o.changes, NoPause: !o.pause,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, done.ID)
	return err
}
