package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

type cpOptions struct {
	all, archive, followLink bool
	index                    int
}

func newCpCommand(c *cli) *cobra.Command {
	var o cpOptions
	cmd := &cobra.Command{
		Use:   "cp [OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n  gantry cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
		Short: "Copy files/folders between a service container and the local filesystem",
		Long: "Copy files/folders between a service container and the local filesystem.\n" +
			"Without --index, files are copied into all replicas, and out of the first one.",
		Args: exactArgs(2),
		RunE: c.raw(func(ctx context.Context, args []string) error { return runCp(ctx, c, o, args[0], args[1]) }),
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "Include containers created by the run command")
	f.BoolVarP(&o.archive, "archive", "a", false, "Archive mode (copy all uid/gid information)")
	f.BoolVarP(&o.followLink, "follow-link", "L", false, "Always follow symbol link in SRC_PATH")
	f.IntVar(&o.index, "index", 0, "Index of the container if service has multiple replicas")
	return cmd
}

func runCp(ctx context.Context, c *cli, o cpOptions, from, to string) error {
	source, sourcePath := splitPlace(from)
	dest, destPath := splitPlace(to)
	switch {
	case source != "" && dest != "":
		return errdefs.ErrInvalidArgument.WithMessage("copying between services is not supported")
	case source == "" && dest == "":
		return usagef("one of source and destination must be SERVICE:PATH")
	}
	found, err := c.cpContainers(ctx, o, source+dest)
	if err != nil {
		return err
	}
	if source != "" {
		return c.copy(ctx, o, nameOf(found[0])+":"+sourcePath, to)
	}
	if from == "-" && len(found) > 1 {
		return errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("service %q has %d containers and standard input can be read once: choose one by --index", dest, len(found)))
	}
	for _, to := range found {
		if err := c.copy(ctx, o, from, nameOf(to)+":"+destPath); err != nil {
			return err
		}
	}
	return nil
}

// cpContainers are the containers of a service, running or not, at least one.
func (c *cli) cpContainers(ctx context.Context, o cpOptions, service string) ([]container.Summary, error) {
	t, api, err := c.reach(ctx)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	found, err := containers(ctx, api, t.name, selection{services: []string{service}, all: true, oneOff: o.all, index: o.index})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		if err := t.check([]string{service}, nil); err != nil {
			return nil, err
		}
		return nil, errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no container found for service %q", service))
	}
	return found, nil
}

// copy is docker cp.
func (c *cli) copy(ctx context.Context, o cpOptions, from, to string) error {
	if c.global.dryRun {
		_, err := fmt.Fprintf(c.out, "copy %s to %s\n", from, to)
		return err
	}
	args := []string{"container", "cp"}
	if o.archive {
		args = append(args, "--archive")
	}
	if o.followLink {
		args = append(args, "--follow-link")
	}
	return runManagement(ctx, c, append(args, "--", from, to))
}

// splitPlace splits SERVICE:PATH; the service is "" for a local path, which is
// one that begins with / or . or has no colon, as in docker cp.
func splitPlace(s string) (service, path string) {
	service, path, ok := strings.Cut(s, ":")
	if filepath.IsAbs(s) || !ok || strings.HasPrefix(service, ".") {
		return "", s
	}
	return service, path
}
