package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"gantry/project"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	engine "github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

type configOptions struct {
	format, output, hash                                 string
	quiet, services, volumes, networks, images, profiles bool
	environment, variables, models                       bool
	resolveDigests, lockDigests                          bool
	project.ModelOptions
}

func newConfigCommand(c *cli) *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use: "config [OPTIONS] [SERVICE...]", Aliases: []string{"convert"},
		Short: "Parse, resolve and render compose file in canonical format", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runConfig(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "yaml", "Format the output. Values: [yaml | json]")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only validate the configuration, don't print anything")
	f.BoolVar(&o.NoInterpolate, "no-interpolate", false, "Don't interpolate environment variables")
	f.BoolVar(&o.NoNormalize, "no-normalize", false, "Don't normalize compose model")
	f.BoolVar(&o.NoPathResolution, "no-path-resolution", false, "Don't resolve file paths")
	f.BoolVar(&o.NoConsistency, "no-consistency", false, "Don't check model consistency - warning: may produce invalid Compose output")
	f.BoolVar(&o.NoEnvResolution, "no-env-resolution", false, "Don't resolve service env files")
	f.BoolVar(&o.services, "services", false, "Print the service names, one per line.")
	f.BoolVar(&o.volumes, "volumes", false, "Print the volume names, one per line.")
	f.BoolVar(&o.networks, "networks", false, "Print the network names, one per line.")
	f.BoolVar(&o.images, "images", false, "Print the image names, one per line.")
	f.BoolVar(&o.models, "models", false, "Print the model names, one per line.")
	f.BoolVar(&o.resolveDigests, "resolve-image-digests", false, "Pin image tags to digests")
	f.BoolVar(&o.lockDigests, "lock-image-digests", false, "Produces an override file with image digests")
	f.BoolVar(&o.profiles, "profiles", false, "Print the profile names, one per line.")
	f.StringVar(&o.hash, "hash", "", "Print the service config hash, one per line: \"*\" for all, or names separated by commas")
	f.BoolVar(&o.environment, "environment", false, "Print environment used for interpolation.")
	f.BoolVar(&o.variables, "variables", false, "Print model variables and default values.")
	f.StringVarP(&o.output, "output", "o", "", "Save to file (default to stdout)")
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"yaml", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runConfig(ctx context.Context, c *cli, o configOptions, services []string) error {
	if o.format != "yaml" && o.format != "json" {
		return usagef("unsupported --format %q: use yaml or json", o.format)
	}
	if o.hash != "" {
		return printHashes(ctx, c, o.hash)
	}
	opts := c.loadOptions()
	opts.Services = services
	if o.profiles && len(opts.Profiles) == 0 {
		opts.Profiles = []string{"*"}
	}
	if o.variables {
		o.NoInterpolate = true
	}
	if pinned := o.resolveDigests || o.lockDigests; pinned && o.NoInterpolate {
		return usagef("--resolve-image-digests and --lock-image-digests need values: remove --no-interpolate")
	}
	model, warnings, err := project.LoadModel(ctx, opts, o.ModelOptions)
	c.warn(warnings)
	if err != nil || o.quiet {
		return err
	}
	if o.resolveDigests || o.lockDigests {
		if err := c.pin(ctx, model); err != nil {
			return err
		}
	}
	out, err := o.render(model)
	if err != nil {
		return err
	}
	if o.output != "" {
		if err := os.WriteFile(o.output, out, 0o644); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		return nil
	}
	_, err = c.out.Write(out)
	return err
}

func (o configOptions) render(m *project.Model) ([]byte, error) {
	switch {
	case o.services:
		return lines(m.Services()), nil
	case o.volumes:
		return lines(m.Volumes()), nil
	case o.networks:
		return lines(m.Networks()), nil
	case o.images:
		return lines(m.Images()), nil
	case o.profiles:
		return lines(m.Profiles()), nil
	case o.models:
		return lines(m.Models()), nil
	case o.environment:
		return lines(m.Environment()), nil
	case o.variables:
		return variables(m.Variables()), nil
	}
	if o.lockDigests {
		m = m.Lock()
	}
	if o.format == "json" {
		return m.JSON()
	}
	return m.YAML()
}

// pin asks the registries for the digests of a model's images.
func (c *cli) pin(ctx context.Context, m *project.Model) error {
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	credentials := credentialsOf(ctx, c.dockerConfig(), m.Images(), c.err)
	return m.Pin(func(named reference.Named) (digest.Digest, error) {
		auth, err := authconfig.Encode(credentials[reference.Domain(named)])
		if err != nil {
			return "", err
		}
		found, err := api.DistributionInspect(ctx, named.String(), engine.DistributionInspectOptions{EncodedRegistryAuth: auth})
		return found.Descriptor.Digest, err
	})
}

func lines(list []string) []byte {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s + "\n")
	}
	return []byte(b.String())
}

func variables(list []project.Variable) []byte {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 10, 1, 3, ' ', 0)
	fmt.Fprintln(w, "NAME\tREQUIRED\tDEFAULT VALUE\tALTERNATE VALUE")
	for _, v := range list {
		fmt.Fprintf(w, "%s\t%t\t%s\t%s\n", v.Name, v.Required, v.Default, v.Alternate)
	}
	w.Flush()
	return []byte(b.String())
}

// printHashes prints SERVICE HASH, one per line.
func printHashes(ctx context.Context, c *cli, which string) error {
	var names []string
	if which != "*" {
		names = strings.Split(which, ",")
	}
	t, err := c.load(ctx, names...)
	if err != nil {
		return err
	}
	for _, s := range t.definition.Services {
		if len(names) == 0 || slices.Contains(names, s.Name) {
			fmt.Fprintln(c.out, s.Name, s.Hash)
		}
	}
	return nil
}
