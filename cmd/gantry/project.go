package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// target is the project that a verb is about. The definition is nil when there
// is only a name.
type target struct {
	name       string
	definition *project.Project
}

func (c *cli) loadOptions() project.Options {
	g := &c.global
	network, socket, err := address(c.conn.host())
	if err != nil || network != "unix" {
		socket = "" // whatever it is on the daemon's host
	}
	return project.Options{
		APISocket: socket, RegistryConfig: c.registryConfig,
		Files: g.files, ProjectDirectory: g.projectDirectory, Name: g.projectName,
		Profiles: g.profiles, EnvFiles: g.envFiles, IgnoreUnsupported: g.ignoreUnsupported, Stdin: c.in,
		Remote: c.remote,
	}
}

// load reads the project for verbs that bring it about. Named services count
// as enabled, whatever their profiles.
func (c *cli) load(ctx context.Context, services ...string) (target, error) {
	opts := c.loadOptions()
	if slices.Contains(opts.Files, "-") && len(services) > 0 {
		opts.Stdin = rewound(c.in) // it may be read twice
	}
	p, warnings, err := project.Load(ctx, opts)
	if err == nil {
		if missing := without(services, p.ServiceNames()); len(missing) > 0 {
			opts.Services = append(p.ServiceNames(), missing...)
			p, warnings, err = project.Load(ctx, opts)
		}
	}
	c.warn(warnings)
	if err != nil {
		return target{}, err
	}
	return target{p.Name, p}, nil
}

// find reads the project for verbs about what exists already: a name is
// enough, and keys that are not supported do not matter.
func (c *cli) find(ctx context.Context) (target, error) {
	opts := c.loadOptions()
	opts.IgnoreUnsupported = true
	if len(opts.Profiles) == 0 {
		opts.Profiles = []string{"*"} // what runs may have been started with any
	}
	p, _, err := project.Load(ctx, opts)
	switch {
	case err == nil:
		return target{p.Name, p}, nil
	case errdefs.IsNotFound(err) && len(opts.Files) == 0 && firstOf(opts.Name, c.getenv("COMPOSE_PROJECT_NAME")) != "":
		return target{name: firstOf(opts.Name, c.getenv("COMPOSE_PROJECT_NAME"))}, nil
	}
	return target{}, err
}

// reach finds the project and a client for what exists of it.
func (c *cli) reach(ctx context.Context) (target, *engine.Client, error) {
	t, err := c.find(ctx)
	if err != nil {
		return target{}, nil, err
	}
	api, err := c.engine()
	return t, api, err
}

// containers lists the project's containers, running or not, those of the named
// services alone if there are any. A service that is unknown is refused.
func (t target) containers(ctx context.Context, api *engine.Client, services []string) ([]container.Summary, error) {
	list, err := containers(ctx, api, t.name, selection{services: services, all: true})
	if err != nil {
		return nil, err
	}
	return list, t.check(services, servicesOf(list))
}

// check refuses services that neither the definition nor a container has.
func (t target) check(services []string, existing []string) error {
	var errs []error
	for _, s := range services {
		if slices.Contains(existing, s) {
			continue
		}
		if t.definition != nil {
			if _, ok := t.definition.Service(s); ok || slices.Contains(t.definition.Disabled, s) {
				continue
			}
		}
		errs = append(errs, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no such service: %q", s)))
	}
	return errors.Join(errs...)
}

func (c *cli) warn(warnings []project.Warning) {
	for _, w := range warnings {
		fmt.Fprintln(c.err, "warning: "+w.String())
	}
}

// serviceNames completes services.
func (c *cli) serviceNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	opts := c.loadOptions()
	opts.IgnoreUnsupported = true
	p, _, err := project.Load(cmd.Context(), opts)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return without(p.ServiceNames(), args), cobra.ShellCompDirectiveNoFileComp
}

// oneService completes the first argument only.
func (c *cli) oneService(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return c.serviceNames(cmd, args, prefix)
}

func noCompletion(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// without is all of list that is not in other.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}
