package main

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"gantry/cmd/gantry/docker"

	"github.com/spf13/cobra"
)

// runDocker runs a command line of the docker CLI's grammar.
func runDocker(ctx context.Context, c *cli, args []string) error {
	f := newFront(c, "docker")
	f.Compose = func() *cobra.Command {
		cmd := newComposeCommand(c, "compose")
		cmd.PersistentFlags().MarkHidden("host") // it stands before compose
		return cmd
	}
	c.conn.host = func() string { return firstOf(c.global.host, f.Host()) }
	return f.Run(ctx, "", args)
}

func newFront(c *cli, name string) *docker.Front {
	return &docker.Front{
		Name: name, Version: version, DefaultHost: defaultHost, In: c.in, Out: c.out, Err: c.err, Getenv: c.getenv,
		Dial: c.conn.dial, Explain: c.explain,
	}
}

// management are the docker CLI's commands that "gantry" has, with their
// places in its help: those whose names are no compose verbs.
var management = []struct{ name, short string }{
	{"builder", "Manage builds"},
	{"container", "Manage containers"},
	{"image", "Manage images"},
	{"load", "Load an image from a tar archive or STDIN"},
	{"login", "Authenticate to a registry"},
	{"logout", "Log out from a registry"},
	{"network", "Manage networks"},
	{"search", "Search Docker Hub for images"},
	{"system", "Manage Gantry"},
	{"volume", "Manage volumes"},
}

// managementCommands stand for the docker CLI's, which are made when one is
// called: they take longer than everything else here.
func managementCommands(c *cli) []*cobra.Command {
	var out []*cobra.Command
	for _, m := range management {
		cmd := &cobra.Command{
			Use: m.name, Short: m.short, DisableFlagParsing: true,
			RunE: c.raw(func(ctx context.Context, args []string) error {
				if c.global.dryRun {
					return usagef("--dry-run is for compose verbs; %q has none", "gantry "+m.name)
				}
				return runManagement(ctx, c, append([]string{m.name}, args...))
			}),
			ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
				return completeManagement(cmd.Context(), *c, append(append([]string{m.name}, args...), prefix))
			},
		}
		cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
			runManagement(context.Background(), c, []string{m.name, "--help"}) // it tells its error itself
		})
		out = append(out, cmd)
	}
	return out
}

func runManagement(ctx context.Context, c *cli, args []string) error {
	f := newFront(c, "gantry")
	f.Extra = map[string][]*cobra.Command{"system": {newSystemInstallCommand(), newSystemUninstallCommand()}}
	for _, m := range management {
		f.Only = append(f.Only, m.name)
	}
	return f.Run(ctx, c.conn.host(), args)
}

// completeManagement asks the docker CLI's commands for completions. Source:
// cobra's protocol with shells: a line for each, then :DIRECTIVE.
func completeManagement(ctx context.Context, c cli, args []string) ([]string, cobra.ShellCompDirective) {
	var out bytes.Buffer
	c.out, c.err = &out, &bytes.Buffer{}
	if runManagement(ctx, &c, append([]string{cobra.ShellCompRequestCmd}, args...)) != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	last := len(lines) - 1
	directive, err := strconv.Atoi(strings.TrimPrefix(lines[last], ":"))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:last], cobra.ShellCompDirective(directive)
}
