package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/project"
	"gantry/scheduler"

	"github.com/distribution/reference"
	"github.com/hashicorp/go-multierror"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// pushesAtOnce is how many images travel at a time, unless --parallel says more
// or less.
const pushesAtOnce = 4

type pushOptions struct {
	quiet          bool
	includeDeps    bool
	ignoreFailures bool
}

func newPushCommand(c *cli) *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use: "push [OPTIONS] [SERVICE...]", Short: "Push service images", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runPush(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Push without printing progress information")
	f.BoolVar(&o.includeDeps, "include-deps", false, "Also push images of services declared as dependencies")
	f.BoolVar(&o.ignoreFailures, "ignore-push-failures", false, "Push what it can and ignores images with push failures")
	return cmd
}

// toPush is an image of a project and the service that it is pushed for.
type toPush struct{ ref, service string }

func runPush(ctx context.Context, c *cli, o pushOptions, services []string) error {
	t, err := c.load(ctx, services...)
	if err != nil {
		return err
	}
	if err := t.check(services, nil); err != nil {
		return err
	}
	list := pushed(t.definition, services, o.includeDeps)
	if len(list) == 0 {
		fmt.Fprintln(c.err, "nothing to push: no service has build and image; services that are named are pushed without build, too")
		return nil
	}
	return c.push(ctx, o, list)
}

// push pushes images side by side.
func (c *cli) push(ctx context.Context, o pushOptions, list []toPush) error {
	if c.global.dryRun {
		for i, p := range list {
			fmt.Fprintf(c.out, "%d push image %s  # for %s\n", i, p.ref, p.service)
		}
		return nil
	}
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	var refs []string
	for _, p := range list {
		refs = append(refs, p.ref)
	}
	credentials := credentialsOf(ctx, c.dockerConfig(), refs, c.err)
	if o.quiet {
		c.global.progress = string(progress.Quiet)
	}
	d := c.display(true)
	defer d.Close()
	d.Event(client.PlanEvent(len(list)))
	errs := make([]error, len(list))
	var group errgroup.Group
	group.SetLimit(pushesAtOnce)
	if c.global.parallel > 0 {
		group.SetLimit(c.global.parallel)
	}
	for i, p := range list {
		group.Go(func() error {
			e := scheduler.Event{Step: i, Kind: "image", Name: p.ref, Service: p.service, Verb: "push", Status: scheduler.StatusStarted}
			began := time.Now()
			d.Event(e)
			auth := ""
			if named, err := reference.ParseNormalizedNamed(p.ref); err == nil {
				if a, ok := credentials[reference.Domain(named)]; ok {
					if b, err := json.Marshal(a); err == nil {
						auth = base64.URLEncoding.EncodeToString(b)
					}
				}
			}
			errs[i] = pushImage(ctx, api, p.ref, auth, func(progress scheduler.Progress) {
				e.Status, e.Progress = scheduler.StatusProgress, progress
				d.Event(e)
			})
			e.Status, e.Progress, e.Elapsed = scheduler.StatusDone, scheduler.Progress{}, int64(time.Since(began))
			if errs[i] != nil {
				e.Status, e.Error, e.Optional = scheduler.StatusFailed, errs[i].Error(), o.ignoreFailures
			}
			d.Event(e)
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	if o.ignoreFailures {
		return ctx.Err()
	}
	var all *multierror.Error
	for i, err := range errs {
		if err != nil {
			all = multierror.Append(all, fmt.Errorf("push image %s: %w", list[i].ref, err))
		}
	}
	return all.ErrorOrNil()
}

// pushed lists the images that are to be pushed, each once: those that the
// project builds under names of the user's, and those of services that were
// named.
func pushed(p *project.Project, services []string, deps bool) []toPush {
	chosen := map[string]bool{}
	var choose func(name string)
	choose = func(name string) {
		svc, ok := p.Service(name)
		if !ok || chosen[name] {
			return
		}
		chosen[name] = true
		for _, d := range svc.DependsOn {
			if deps {
				choose(d.Service)
			}
		}
	}
	for _, name := range services {
		choose(name)
	}
	var out []toPush
	for i := range p.Services {
		svc := &p.Services[i]
		var names []string
		switch {
		case len(services) > 0 && !chosen[svc.Name]:
		case svc.Build != nil && svc.ImageGiven:
			names = append([]string{svc.Image}, svc.Build.Tags...)
		case svc.Build != nil:
			names = svc.Build.Tags
		case slices.Contains(services, svc.Name):
			names = []string{svc.Image}
		}
		for _, ref := range names {
			if !slices.ContainsFunc(out, func(t toPush) bool { return t.ref == ref }) {
				out = append(out, toPush{ref, svc.Name})
			}
		}
	}
	return out
}

// pushImage pushes one image and tells how far its layers are.
func pushImage(ctx context.Context, api *engine.Client, ref, auth string, tell func(scheduler.Progress)) error {
	resp, err := api.ImagePush(ctx, ref, engine.ImagePushOptions{RegistryAuth: auth})
	if err != nil {
		return err
	}
	for m, err := range resp.JSONMessages(ctx) {
		switch {
		case err != nil:
			return err
		case m.Error != nil:
			return m.Error
		case m.ID == "":
			continue // the whole has its own line
		}
		p := scheduler.Progress{ID: m.ID, Text: m.Status}
		if m.Progress != nil {
			p.Current, p.Total = m.Progress.Current, m.Progress.Total
		}
		tell(p)
	}
	return nil
}
