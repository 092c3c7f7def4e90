package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"gantry/api/client"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
)

// createOptions are the flags that up and create share.
type createOptions struct {
	client.UpOptions
	scale      []string
	pull       string
	quietPull  bool
	quietBuild bool
	yes        bool
}

func (o *createOptions) flags(c *cli, cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.Build, "build", false, "Build images before starting containers")
	f.BoolVar(&o.NoBuild, "no-build", false, "Don't build an image, even if it's policy")
	f.BoolVar(&o.ForceRecreate, "force-recreate", false, "Recreate containers even if their configuration and image haven't changed")
	f.BoolVar(&o.NoRecreate, "no-recreate", false, "If containers already exist, don't recreate them. Incompatible with --force-recreate.")
	f.StringVar(&o.pull, "pull", "policy", `Pull image before running ("always"|"missing"|"never"|"policy")`)
	f.BoolVar(&o.quietPull, "quiet-pull", false, "Pull without printing progress information")
	f.BoolVar(&o.RemoveOrphans, "remove-orphans", c.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	f.StringArrayVar(&o.scale, "scale", nil, "Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.")
	f.BoolVarP(&o.yes, "yes", "y", false, `Assume "yes" as answer to all prompts and run non-interactively`)
	cmd.RegisterFlagCompletionFunc("pull", cobra.FixedCompletions([]string{"always", "missing", "never", "policy"}, cobra.ShellCompDirectiveNoFileComp))
}

// check turns flags into the request's options.
func (o *createOptions) check(c *cli) error {
	if o.Build && o.NoBuild {
		return usagef("--build and --no-build are incompatible")
	}
	if o.ForceRecreate && o.NoRecreate {
		return usagef("--force-recreate and --no-recreate are incompatible")
	}
	switch o.pull {
	case "policy", "":
		o.Pull = ""
	case "always", "missing", "never":
		o.Pull = o.pull
	default:
		return usagef("invalid value for --pull: %q: use always, missing, never or policy", o.pull)
	}
	scale, err := parseScale(o.scale)
	if err != nil {
		return err
	}
	o.Scale = scale
	o.IgnoreOrphanWarning = c.envBool("COMPOSE_IGNORE_ORPHANS")
	if o.IgnoreOrphanWarning && o.RemoveOrphans {
		return usagef("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans")
	}
	return nil
}

// parseScale reads SERVICE=NUM.
func parseScale(list []string) (map[string]int, error) {
	if len(list) == 0 {
		return nil, nil
	}
	scale := map[string]int{}
	for _, s := range list {
		name, number, ok := strings.Cut(s, "=")
		n, err := strconv.Atoi(number)
		if !ok || name == "" || err != nil || n < 0 {
			return nil, usagef("invalid --scale %q: use SERVICE=NUM", s)
		}
		scale[name] = n
	}
	return scale, nil
}

func newCreateCommand(c *cli) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use: "create [OPTIONS] [SERVICE...]", Short: "Creates containers for a service", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runCreate(ctx, c, &o, services) }),
	}
	o.flags(c, cmd)
	return cmd
}

func runCreate(ctx context.Context, c *cli, o *createOptions, services []string) error {
	if err := o.check(c); err != nil {
		return err
	}
	t, err := c.load(ctx, services...)
	if err != nil {
		return err
	}
	if err := t.checkScale(o.Scale); err != nil {
		return err
	}
	return detached(ctx, c, t, client.VerbCreate, services, o)
}

// with are the request's options once sessions are there.
func (o *createOptions) with(sessions map[string]string) client.UpOptions {
	up := o.UpOptions
	up.Sessions = sessions
	return up
}

// checkScale refuses services that the project lacks.
func (t target) checkScale(scale map[string]int) error {
	for name := range scale {
		if _, ok := t.definition.Service(name); !ok {
			return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("--scale: no such service: %q", name))
		}
	}
	return nil
}

// detached carries out up or create without showing output.
func detached(ctx context.Context, c *cli, t target, v client.Verb, services []string, o *createOptions) error {
	if c.global.dryRun {
		return dryRun(ctx, c, t, v, services, o.UpOptions)
	}
	d := c.display(!o.quietPull)
	defer d.Close()
	told := &telling{Display: d, quietBuild: o.quietBuild}
	err := doBuilding(ctx, c, t, v, services, told, o.with)
	if err != nil || v != client.VerbUp {
		return err
	}
	return told.untouched(ctx, c, t, services, o.UpOptions)
}
