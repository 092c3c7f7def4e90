package main

import (
	"context"
	"fmt"
	"os"

	"gantry/cmd/gantry/remote"
	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/spf13/cobra"
)

type publishOptions struct {
	resolveDigests, withEnv, yes, insecure bool
	ociVersion                             string
}

func newPublishCommand(c *cli) *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use: "publish [OPTIONS] REPOSITORY[:TAG]", Short: "Publish compose application", Args: exactArgs(1), ValidArgsFunction: noCompletion,
		RunE: c.run(func(ctx context.Context, args []string) error { return runPublish(ctx, c, o, args[0]) }),
	}
	f := cmd.Flags()
	f.BoolVar(&o.resolveDigests, "resolve-image-digests", false, "Pin image tags to digests")
	f.StringVar(&o.ociVersion, "oci-version", "", "OCI image/artifact specification version (automatically determined by default)")
	f.BoolVar(&o.withEnv, "with-env", false, "Include environment variables in the published OCI artifact")
	f.BoolVarP(&o.yes, "yes", "y", false, `Assume "yes" as answer to all prompts`)
	f.BoolVar(&o.insecure, "insecure-registry", false, "Use insecure registry")
	f.MarkHidden("insecure-registry")
	return cmd
}

// runPublish pushes the images that the project builds, and then its compose
// files, so that what is published can be used at once.
func runPublish(ctx context.Context, c *cli, o publishOptions, repository string) error {
	named, err := reference.ParseDockerRef(repository)
	if err != nil {
		return fmt.Errorf("%q: %w: %w", repository, err, errdefs.ErrInvalidArgument)
	}
	c.global.profiles = []string{"*"} // others choose their own
	opts := c.loadOptions()
	p, warnings, err := project.LoadPublication(ctx, opts)
	c.warn(warnings)
	if err != nil {
		return err
	}
	if len(p.EnvFiles) > 0 && !o.withEnv {
		return errdefs.ErrFailedPrecondition.WithMessage(fmt.Sprintf("%q and what services read from it would be published: give --with-env, or remove env_file", p.EnvFiles[0].Path))
	}
	if len(p.Concerns) > 0 && !o.yes {
		fmt.Fprintln(c.err, "Everybody who can pull it will see:")
		for _, concern := range p.Concerns {
			fmt.Fprintln(c.err, "  "+concern)
		}
		fmt.Fprintf(c.err, "? Publish %s (y/N) ", reference.FamiliarString(named))
		if !confirmed(c.in) {
			return errdefs.ErrAborted.WithMessage("nothing was published")
		}
	}
	if err := pushBuilt(ctx, c); err != nil {
		return err
	}
	content := remote.Published{Compose: [][]byte{p.Compose}, EnvFiles: map[string][]byte{}}
	for _, f := range p.EnvFiles {
		if content.EnvFiles[f.Name], err = os.ReadFile(f.Path); err != nil {
			return fmt.Errorf("env_file: %w", err)
		}
	}
	if c.global.dryRun {
		fmt.Fprintf(c.out, "publish %s\n", reference.FamiliarString(named))
		return nil
	}
	if o.resolveDigests {
		lock, err := c.locked(ctx, opts)
		if err != nil {
			return err
		}
		content.Compose = append(content.Compose, lock)
	}
	if o.insecure {
		c.remote.Insecure = append(c.remote.Insecure, reference.Domain(named))
	}
	digest, err := c.remote.Publish(ctx, repository, o.ociVersion, content)
	if err != nil {
		return fmt.Errorf("publish %w", err)
	}
	fmt.Fprintf(c.err, "%s published: %s\n", reference.FamiliarString(named), digest)
	return nil
}

// pushBuilt pushes the images that the project builds, if it builds any.
func pushBuilt(ctx context.Context, c *cli) error {
	t, err := c.load(ctx)
	if err != nil {
		return err
	}
	list := pushed(t.definition, nil, false)
	if len(list) == 0 {
		return nil
	}
	return c.push(ctx, pushOptions{}, list)
}

// locked is the override that pins the images of a project.
func (c *cli) locked(ctx context.Context, opts project.Options) ([]byte, error) {
	model, _, err := project.LoadModel(ctx, opts, project.ModelOptions{NoEnvResolution: true})
	if err != nil {
		return nil, err
	}
	if err := c.pin(ctx, model); err != nil {
		return nil, err
	}
	return model.Lock().YAML()
}
