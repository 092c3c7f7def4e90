package main

import (
	"context"
	"slices"
	"strings"

	"gantry/project"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/volume"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type volumesOptions struct {
	format string
	quiet  bool
}

func newVolumesCommand(c *cli) *cobra.Command {
	var o volumesOptions
	cmd := &cobra.Command{
		Use: "volumes [OPTIONS] [SERVICE...]", Short: "List volumes", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runVolumes(ctx, c, o, services) }),
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "Format output using a custom template:\n'table': table with headers (default)\n'table TEMPLATE': table using the given Go template\n'json': JSON, one object per line\n'TEMPLATE': the given Go template")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Only display volume names")
	return cmd
}

// runVolumes lists a project's volumes, of services only those that they mount.
func runVolumes(ctx context.Context, c *cli, o volumesOptions, services []string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	list, err := t.containers(ctx, api, services)
	if err != nil {
		return err
	}
	mounted := map[string]bool{}
	for _, s := range list {
		for _, m := range s.Mounts {
			mounted[m.Name] = mounted[m.Name] || m.Type == mount.TypeVolume
		}
	}
	found, err := api.VolumeList(ctx, engine.VolumeListOptions{Filters: make(engine.Filters).Add("label", project.LabelProject+"="+t.name)})
	if err != nil {
		return err
	}
	volumes := slices.DeleteFunc(found.Items, func(v volume.Volume) bool { return len(services) > 0 && !mounted[v.Name] })
	slices.SortFunc(volumes, func(a, b volume.Volume) int { return strings.Compare(a.Name, b.Name) })
	return formatter.VolumeWrite(formatter.Context{Output: c.out, Format: formatter.NewVolumeFormat(o.format, o.quiet)}, volumes)
}
