package main

import (
	"context"
	"fmt"
	"sync"

	"gantry/api/client"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func newWaitCommand(c *cli) *cobra.Command {
	var downProject bool
	cmd := &cobra.Command{
		Use: "wait SERVICE [SERVICE...] [OPTIONS]", Short: "Block until containers of all (or specified) services stop.",
		Args: minimumArgs(1), ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runWait(ctx, c, downProject, services) }),
	}
	cmd.Flags().BoolVar(&downProject, "down-project", false, "Drops project when the first container stops")
	return cmd
}

func runWait(ctx context.Context, c *cli, downProject bool, services []string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	list, err := t.containers(ctx, api, services)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no containers for project %q", t.name))
	}
	code, err := waitForEnd(ctx, c, api, list, downProject)
	if err != nil {
		return err
	}
	if downProject {
		if err := act(ctx, c, t, client.VerbDown, nil, client.DownOptions{RemoveOrphans: true}); err != nil {
			return err
		}
	}
	if code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// waitForEnd waits for all containers, or for the first one, and returns the
// code of the one that ended last.
func waitForEnd(ctx context.Context, c *cli, api *engine.Client, list []container.Summary, first bool) (int, error) {
	waiting, done := context.WithCancel(ctx)
	defer done()
	var mu sync.Mutex
	var ended bool
	var code int
	group, waiting := errgroup.WithContext(waiting)
	for _, s := range list {
		group.Go(func() error {
			wait := api.ContainerWait(waiting, s.ID, engine.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
			select {
			case end := <-wait.Result:
				mu.Lock()
				defer mu.Unlock()
				if first && ended {
					return nil
				}
				code, ended = int(end.StatusCode), true
				fmt.Fprintf(c.out, "container %q exited with status code %d\n", nameOf(s), code)
				if first {
					done()
				}
				return nil
			case err := <-wait.Error:
				mu.Lock()
				defer mu.Unlock()
				if first && ended {
					return nil
				}
				return err
			}
		})
	}
	err := group.Wait()
	return code, err
}
