package main

import (
	"context"
	"fmt"
	"io"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/watch"
	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
)

type watchOptions struct{ noUp, prune, quiet bool }

func newWatchCommand(c *cli) *cobra.Command {
	var o watchOptions
	cmd := &cobra.Command{
		Use: "watch [SERVICE...]", Short: "Watch build context for service and rebuild/refresh containers when files are updated",
		ValidArgsFunction: c.serviceNames,
		RunE:              c.run(func(ctx context.Context, services []string) error { return runWatch(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.BoolVar(&o.noUp, "no-up", false, "Do not build & start services before watching")
	f.BoolVar(&o.prune, "prune", true, "Prune dangling images on rebuild")
	f.BoolVar(&o.quiet, "quiet", false, "hide build output")
	return cmd
}

func runWatch(ctx context.Context, c *cli, o watchOptions, services []string) error {
	t, err := c.load(ctx, services...)
	if err != nil {
		return err
	}
	if err := t.check(services, nil); err != nil {
		return err
	}
	w, err := newWatcher(c, t, services)
	if err != nil {
		return err
	}
	defer w.close()
	w.prune = o.prune
	w.show = func() progress.Display {
		if o.quiet {
			return progress.New(progress.Options{Mode: progress.Quiet, Out: io.Discard})
		}
		return c.display(false)
	}
	if c.global.dryRun {
		for _, r := range w.rules {
			fmt.Fprintf(c.out, "watch %s for service %s: %s\n", r.Path, r.Service, r.Action)
		}
		return nil
	}
	if !o.noUp {
		if err := detached(ctx, c, t.building(w.rules), client.VerbUp, services, &createOptions{quietBuild: o.quiet}); err != nil {
			return err
		}
	}
	return w.run(ctx)
}

// building is the project with the images built anew of the services that are
// watched.
func (t target) building(rules []watch.Rule) target {
	p := *t.definition
	p.Services = append([]project.Service(nil), p.Services...)
	for i := range p.Services {
		for _, r := range rules {
			if s := &p.Services[i]; s.Name == r.Service && s.Build != nil {
				s.PullPolicy = project.PullBuild
			}
		}
	}
	return target{t.name, &p}
}

// newWatcher begins to watch, so that no change from now on is missed.
func newWatcher(c *cli, t target, services []string) (*watcher, error) {
	rules, err := watch.Rules(t.definition, services)
	if err != nil {
		return nil, err
	}
	if len(rules) == 0 {
		return nil, errdefs.ErrFailedPrecondition.WithMessage("none of the selected services is configured for watch: give one a develop section with the key watch")
	}
	api, err := c.engine()
	if err != nil {
		return nil, err
	}
	tree, err := watch.Open(rules)
	if err != nil {
		api.Close()
		return nil, err
	}
	return &watcher{c: c, t: t, api: api, rules: rules, tree: tree, out: c.err}, nil
}
