package main

import (
	"context"
	"slices"
	"strings"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/moby/moby/api/types/image"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newImageCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Manage images", Args: knownVerb, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newLoadCommand(c), newImageLsCommand(c), newImageRmCommand(c))
	return cmd
}

type imageLsOptions struct {
	all, quiet, noTrunc, digests bool
	format                       string
	filter                       []string
}

func newImageLsCommand(c *cli) *cobra.Command {
	var o imageLsOptions
	cmd := &cobra.Command{
		Use: "ls [OPTIONS] [REPOSITORY[:TAG]]", Aliases: []string{"list"}, Short: "List images",
		Args: rangeArgs(0, 1), ValidArgsFunction: noCompletion,
		RunE: c.run(func(ctx context.Context, args []string) error { return runImageLs(ctx, c, o, args) }),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only show image IDs")
	f.BoolVarP(&o.all, "all", "a", false, "Show all images (default hides intermediate and dangling images)")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVar(&o.digests, "digests", false, "Show digests")
	f.StringVar(&o.format, "format", "table", "Format output using a custom template")
	f.StringArrayVarP(&o.filter, "filter", "f", nil, "Filter output based on conditions provided")
	return cmd
}

func runImageLs(ctx context.Context, c *cli, o imageLsOptions, args []string) error {
	filters := engine.Filters{}
	for _, f := range o.filter {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return usagef("invalid --filter %q: use KEY=VALUE", f)
		}
		filters.Add(key, value)
	}
	if len(args) > 0 {
		filters.Add("reference", args[0])
	}
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	list, err := api.ImageList(ctx, engine.ImageListOptions{All: o.all, Filters: filters})
	if err != nil {
		return err
	}
	slices.SortStableFunc(list.Items, func(a, b image.Summary) int {
		return strings.Compare(strings.Join(a.RepoTags, " "), strings.Join(b.RepoTags, " "))
	})
	return formatter.ImageWrite(formatter.ImageContext{
		Context: formatter.Context{Output: c.out, Format: formatter.NewImageFormat(o.format, o.quiet, o.digests), Trunc: !o.noTrunc},
		Digest:  o.digests,
	}, list.Items)
}
