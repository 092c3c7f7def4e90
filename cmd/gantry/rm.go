package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"gantry/api/client"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

type removeOptions struct {
	client.RemoveOptions
	force bool
}

func newRemoveCommand(c *cli) *cobra.Command {
	var o removeOptions
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] [SERVICE...]", Short: "Removes stopped service containers", ValidArgsFunction: c.serviceNames,
		Long: "Removes stopped service containers\n\nBy default, anonymous volumes attached to containers will not be removed. You can override this with -v.",
		RunE: c.run(func(ctx context.Context, services []string) error { return runRemove(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.force, "force", "f", false, "Don't ask to confirm removal")
	f.BoolVarP(&o.Stop, "stop", "s", false, "Stop the containers, if required, before removing")
	f.BoolVarP(&o.Volumes, "volumes", "v", false, "Remove any anonymous volumes attached to containers")
	f.BoolP("all", "a", false, "Deprecated - no effect")
	f.MarkHidden("all")
	return cmd
}

func runRemove(ctx context.Context, c *cli, o removeOptions, services []string) error {
	t, err := c.find(ctx)
	if err != nil {
		return err
	}
	if !o.force && !c.global.dryRun {
		api, err := c.engine()
		if err != nil {
			return err
		}
		list, err := containers(ctx, api, t.name, selection{services: services, all: true})
		if err != nil {
			return err
		}
		if err := t.check(services, servicesOf(list)); err != nil {
			return err
		}
		var names []string
		for _, s := range list {
			if o.Stop || s.State != container.StateRunning && s.State != container.StatePaused && s.State != container.StateRestarting {
				names = append(names, nameOf(s))
			}
		}
		if len(names) == 0 {
			fmt.Fprintln(c.err, "No stopped containers")
			return nil
		}
		fmt.Fprintf(c.err, "? Going to remove %s (y/N) ", strings.Join(names, ", "))
		if !confirmed(c.in) {
			return nil
		}
	}
	return act(ctx, c, t, client.VerbRemove, services, o.RemoveOptions)
}

// confirmed reads the answer to a question; no answer is no.
func confirmed(in io.Reader) bool {
	answer, _ := bufio.NewReader(in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}
