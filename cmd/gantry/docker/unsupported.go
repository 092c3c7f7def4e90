package docker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/docker/cli/cli"
	"github.com/spf13/cobra"
)

const (
	noCluster = "it runs containers on one host; compose projects have replicas (deploy.replicas, docker compose up --scale)"
	noPlugin  = "CLI plugins are not run"
)

// instead lists docker's commands, and those of plugins that come with it,
// which mean nothing here, and what to do instead.
var instead = map[string]string{
	"swarm":      noCluster,
	"node":       noCluster,
	"service":    noCluster,
	"stack":      "use docker compose up",
	"secret":     "use secrets in a compose file",
	"config":     "use configs in a compose file, or docker compose config to see the project",
	"plugin":     "volumes, networks and logs have the drivers that are built in",
	"trust":      "name images by digest (NAME@sha256:…)",
	"checkpoint": "use docker commit to keep a container's files, or docker pause to hold it",
	"context":    "use -H, DOCKER_HOST or GANTRY_HOST to name a daemon",
	"bake":       "use docker compose build",
	"scout":      noPlugin,
	"sbom":       noPlugin,
	"init":       noPlugin,
	"debug":      noPlugin + "; use docker exec",
	"desktop":    noPlugin,
	"extension":  noPlugin,
	"model":      noPlugin,
	"mcp":        noPlugin,
	"ai":         noPlugin,
	"sandbox":    noPlugin,
	"offload":    noPlugin,
	"cloud":      noPlugin,
	"app":        "use docker compose",
}

const oneBuilder = "there is one builder, which is always ready and builds for all platforms; leave it out"

// insteadOfBuildx is instead for the commands of buildx.
var insteadOfBuildx = map[string]string{
	"create":     oneBuilder,
	"use":        oneBuilder,
	"rm":         oneBuilder,
	"stop":       oneBuilder,
	"bake":       "use docker compose build",
	"imagetools": "use docker manifest",
	"history":    "builds are not recorded",
	"debug":      "builds cannot be entered",
	"dap":        "builds cannot be entered",
}

// unsupportedCommands answer, whatever their arguments.
func unsupportedCommands(program string, instead map[string]string) []*cobra.Command {
	var out []*cobra.Command
	for _, name := range slices.Sorted(maps.Keys(instead)) {
		out = append(out, &cobra.Command{
			Use: name, Short: "Not supported by Gantry: " + instead[name], Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return cli.StatusError{StatusCode: 1, Status: fmt.Sprintf("%s %s is not supported by Gantry: %s", program, name, instead[name])}
			},
		})
	}
	return out
}
