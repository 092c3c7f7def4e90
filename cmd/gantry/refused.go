package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
)

// refusedVerbs are Docker Compose's that there are not here, with what to do
// instead.
var refusedVerbs = map[string]string{
	"bridge": "compose files are not turned into those of other platforms",
	"alpha":  "experiments are not there; scale, stats, volumes and watch are verbs of their own",
}

// refusals answer, whatever their arguments.
func refusals() []*cobra.Command {
	var out []*cobra.Command
	for _, name := range slices.Sorted(maps.Keys(refusedVerbs)) {
		out = append(out, &cobra.Command{
			Use: name, Short: "Not supported by Gantry: " + refusedVerbs[name], Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return errdefs.ErrNotImplemented.WithMessage(fmt.Sprintf("%s is not supported: %s", name, refusedVerbs[name]))
			},
		})
	}
	return out
}
