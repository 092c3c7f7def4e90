// Command gantry runs compose projects on an embedded containerd. It is the
// command line and, as "gantry daemon", the daemon.
package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(execute(context.Background(), newCLI(os.Args[0], os.Stdin, os.Stdout, os.Stderr), os.Args[1:]))
}

// execute runs one command line and returns the process's exit code. The name
// by which the program is called chooses the grammar.
func execute(ctx context.Context, c *cli, args []string) int {
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		c.conn.start = neverStart
	}
	var root *cobra.Command
	switch c.name {
	case "docker":
		return c.finish(runDocker(ctx, c, args))
	case "docker-compose":
		root = newComposeCommand(c, c.name)
		root.SilenceErrors, root.SilenceUsage = true, true
	default:
		root = newRootCommand(c)
	}
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	return c.finish(root.ExecuteContext(ctx))
}
