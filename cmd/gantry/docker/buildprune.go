package docker

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/opts"
	"github.com/docker/go-units"
	moby "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// pruneOptions are the flags of docker builder prune, those of buildx among
// them.
type pruneOptions struct {
	all, force, verbose          bool
	filter                       opts.FilterOpt
	reserved, maximal, leastFree opts.MemBytes
}

// pruneCommand is "docker builder prune", which docker's own, without the
// plugin, has fewer flags for.
func (f *Front) pruneCommand() *cobra.Command {
	o := pruneOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove build cache", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.prune(cmd.Context(), &o) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all", "a", false, "Remove all unused build cache, not just dangling ones")
	flags.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	flags.BoolVar(&o.verbose, "verbose", false, "Provide a more verbose output")
	flags.Var(&o.filter, "filter", `Provide filter values (e.g. "until=24h")`)
	flags.Var(&o.reserved, "reserved-space", "Amount of disk space always allowed to keep for cache")
	flags.Var(&o.maximal, "max-used-space", "Maximum amount of disk space allowed to keep for cache")
	flags.Var(&o.leastFree, "min-free-space", "Target amount of free disk space after pruning")
	flags.Var(&o.reserved, "keep-storage", "Amount of disk space to keep for cache")
	flags.MarkHidden("keep-storage") // it is --reserved-space now
	return cmd
}

func (f *Front) prune(ctx context.Context, o *pruneOptions) error {
	which := "all dangling build cache"
	if o.all {
		which = "all build cache"
	}
	if !o.force && !f.confirmed(ctx, "WARNING! This will remove "+which+". Are you sure you want to continue?") {
		return nil
	}
	var known map[string]string
	if o.verbose { // what is gone cannot be asked about
		usage, err := f.cli.Client().DiskUsage(ctx, moby.DiskUsageOptions{BuildCache: true, Verbose: true})
		if err != nil {
			return err
		}
		known = map[string]string{}
		for _, r := range usage.BuildCache.Items {
			known[r.ID] = "\t" + units.HumanSize(float64(r.Size)) + "\t" + strings.TrimSpace(r.Description)
		}
	}
	r, err := f.cli.Client().BuildCachePrune(ctx, moby.BuildCachePruneOptions{
		All: o.all, ReservedSpace: o.reserved.Value(), MaxUsedSpace: o.maximal.Value(), MinFreeSpace: o.leastFree.Value(),
		Filters: command.PruneFilters(f.cli, o.filter.Value()),
	})
	if err != nil {
		return err
	}
	if gone := r.Report.CachesDeleted; len(gone) > 0 {
		fmt.Fprintln(f.Out, "Deleted build cache objects:")
		for _, id := range gone {
			fmt.Fprintln(f.Out, id+known[id])
		}
		fmt.Fprintln(f.Out)
	}
	_, err = fmt.Fprintln(f.Out, "Total reclaimed space:", units.HumanSize(float64(r.Report.SpaceReclaimed)))
	return err
}

// confirmed asks a question; anything but yes is no, and so is Ctrl-C.
func (f *Front) confirmed(ctx context.Context, question string) bool {
	fmt.Fprint(f.Out, question+" [y/N] ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(f.cli.In()).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case line := <-answer:
		return strings.EqualFold(line, "y")
	case <-ctx.Done():
		return false
	}
}
