package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/project"

	"github.com/spf13/cobra"
)

type buildOptions struct {
	args, ssh                         []string
	noCache, pull, push, quiet, deps  bool
	check, print                      bool
	builder, memory, provenance, sbom string
}

func newBuildCommand(c *cli) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use: "build [OPTIONS] [SERVICE...]", Short: "Build or rebuild services", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runBuild(ctx, c, &o, services) }),
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.args, "build-arg", nil, "Set build-time variables for services")
	f.StringVar(&o.builder, "builder", "", "Set builder to use. Has no effect here: there is one.")
	f.BoolVar(&o.check, "check", false, "Check build configuration")
	f.StringVarP(&o.memory, "memory", "m", "", "Set memory limit for the build container. Not supported by BuildKit.")
	f.BoolVar(&o.noCache, "no-cache", false, "Do not use cache when building the image")
	f.BoolVar(&o.print, "print", false, "Print equivalent bake file")
	f.StringVar(&o.provenance, "provenance", "", "Add a provenance attestation")
	f.BoolVar(&o.pull, "pull", false, "Always attempt to pull a newer version of the image")
	f.BoolVar(&o.push, "push", false, "Push service images")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the build output")
	f.StringVar(&o.sbom, "sbom", "", "Add a SBOM attestation")
	f.StringArrayVar(&o.ssh, "ssh", nil, "Set SSH authentications used when building service images. (use 'default' for using your default SSH Agent)")
	f.BoolVar(&o.deps, "with-dependencies", false, "Also build dependencies (transitively)")
	for _, name := range []string{"compress", "force-rm", "no-rm", "parallel"} { // of old versions; without effect there, too
		f.Bool(name, true, "")
		f.MarkHidden(name)
	}
	return cmd
}

func runBuild(ctx context.Context, c *cli, o *buildOptions, services []string) error {
	switch {
	case o.print:
		return o.runPrint(ctx, c, services)
	case o.check:
		return o.runCheck(ctx, c, services)
	}
	if o.builder != "" {
		fmt.Fprintln(c.err, "warning: --builder has no effect: images are built by the daemon")
	}
	if o.memory != "" {
		fmt.Fprintln(c.err, "warning: --memory has no effect: BuildKit does not limit a build's memory")
	}
	if err := o.build(ctx, c, services); err != nil || !o.push {
		return err
	}
	return runPush(ctx, c, pushOptions{quiet: o.quiet, includeDeps: o.deps}, services)
}

func (o *buildOptions) build(ctx context.Context, c *cli, services []string) error {
	t, err := c.load(ctx, services...)
	if err != nil {
		return err
	}
	if err := o.apply(t.definition); err != nil {
		return err
	}
	if !slices.ContainsFunc(t.definition.Services, func(s project.Service) bool { return s.Build != nil }) {
		fmt.Fprintln(c.err, "warning: no service of the project has the key build")
		return nil
	}
	options := func(sessions map[string]string) client.BuildOptions {
		return client.BuildOptions{Sessions: sessions, WithDeps: o.deps}
	}
	if c.global.dryRun {
		return dryRun(ctx, c, t, client.VerbBuild, services, options(nil))
	}
	if o.quiet {
		return o.quietly(ctx, c, t, services, options)
	}
	d, err := newBuildDisplay(ctx, c, c.err)
	if err != nil {
		return err
	}
	defer d.Close()
	return doBuilding(ctx, c, t, client.VerbBuild, services, d, options)
}

func (o *buildOptions) quietly(ctx context.Context, c *cli, t target, services []string, options func(map[string]string) client.BuildOptions) error {
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	q := &quietly{Display: progress.New(progress.Options{Mode: progress.Quiet, Out: io.Discard})}
	if err := doBuilding(ctx, c, t, client.VerbBuild, services, q, options); err != nil {
		return err
	}
	return q.print(ctx, api, c.out)
}

// apply lays the flags over every build of the project.
func (o *buildOptions) apply(p *project.Project) error {
	for i := range p.Services {
		b := p.Services[i].Build
		if b == nil {
			continue
		}
		b.NoCache, b.Pull = b.NoCache || o.noCache, b.Pull || o.pull
		if o.provenance != "" {
			b.Provenance = o.provenance
		}
		if o.sbom != "" {
			b.SBOM = o.sbom
		}
		for _, arg := range o.args {
			k, v, given := strings.Cut(arg, "=")
			if !given {
				var set bool
				if v, set = os.LookupEnv(k); !set {
					continue
				}
			}
			if b.Args == nil {
				b.Args = map[string]string{}
			}
			b.Args[k] = v
		}
		for _, key := range o.ssh {
			id, paths, given := strings.Cut(key, "=")
			agent := project.BuildSSH{ID: id}
			if given {
				agent.Paths = strings.Split(paths, ",")
			}
			b.SSH = append(slices.DeleteFunc(b.SSH, func(a project.BuildSSH) bool { return a.ID == id }), agent)
		}
	}
	return p.Check()
}
