package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/containerd/platforms"
	"github.com/docker/cli/cli"
	buildkit "github.com/moby/buildkit/client"
	"github.com/spf13/cobra"
)

// builderName is what buildx calls the builder of a Docker engine.
const builderName = "default"

// buildxCommand has what people call of the plugin in scripts.
func (f *Front) buildxCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "buildx", Short: "Build with BuildKit", Args: cli.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	version := &cobra.Command{
		Use: "version", Short: "Show what builds", Args: cli.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(f.Out, "gantry", f.Version)
			return err
		},
	}
	list := &cobra.Command{
		Use: "ls", Short: "List builder instances", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.builder(cmd.Context(), f.listed) },
	}
	inspect := &cobra.Command{
		Use: "inspect [NAME]", Short: "Inspect current builder instance", Args: cli.RequiresMaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != builderName {
				return fmt.Errorf("no builder %q found: there is one, %q", args[0], builderName)
			}
			return f.builder(cmd.Context(), f.inspected)
		},
	}
	inspect.Flags().Bool("bootstrap", false, "Ensure builder has booted before inspecting")
	cmd.AddCommand(f.usageCommand(), f.pruneCommand(), version, list, inspect)
	cmd.AddCommand(unsupportedCommands("docker buildx", insteadOfBuildx)...)
	return cmd
}

// builder shows the daemon's builder.
func (f *Front) builder(ctx context.Context, show func(*buildkit.WorkerInfo) error) error {
	kit, err := f.kit(ctx)
	if err != nil {
		return err
	}
	defer kit.Close()
	workers, err := kit.ListWorkers(ctx)
	if err != nil {
		return err
	}
	if len(workers) == 0 {
		return errors.New("the daemon has no builder")
	}
	return show(workers[0])
}

func platformsOf(w *buildkit.WorkerInfo) string {
	var names []string
	for _, p := range w.Platforms {
		names = append(names, platforms.Format(p))
	}
	return strings.Join(names, ", ")
}

func (f *Front) listed(w *buildkit.WorkerInfo) error {
	t := tabwriter.NewWriter(f.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NAME/NODE\tDRIVER/ENDPOINT\tSTATUS\tBUILDKIT\tPLATFORMS")
	fmt.Fprintf(t, "%s*\tdocker\t\t\t\n \\_ %[1]s\t\\_ %[1]s\trunning\t%s\t%s\n", builderName, w.BuildkitVersion.Version, platformsOf(w))
	return t.Flush()
}

func (f *Front) inspected(w *buildkit.WorkerInfo) error {
	t := tabwriter.NewWriter(f.Out, 0, 0, 1, ' ', 0)
	fmt.Fprintf(t, "Name:\t%s\nDriver:\tdocker\n\nNodes:\nName:\t%[1]s\nEndpoint:\t%[1]s\nStatus:\trunning\nBuildKit version:\t%s\nPlatforms:\t%s\n", builderName, w.BuildkitVersion.Version, platformsOf(w))
	return t.Flush()
}
