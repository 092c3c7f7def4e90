// Command gantry runs compose projects on an embedded containerd. It is the
// command line and, as "gantry daemon", the daemon.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(execute(context.Background(), newCLI(os.Args[0], os.Stdin, os.Stdout, os.Stderr), os.Args[1:]))
}

// execute runs one command line and returns the process's exit code.
func execute(ctx context.Context, c *cli, args []string) int {
	root := newRootCommand(c)
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	return c.finish(root.ExecuteContext(ctx))
}
