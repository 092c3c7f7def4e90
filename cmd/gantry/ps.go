package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

type psOptions struct {
	all, quiet, services, noTrunc, orphans bool
	format, filter                         string
	status                                 []string
}

func newPsCommand(c *cli) *cobra.Command {
	var o psOptions
	cmd := &cobra.Command{
		Use: "ps [OPTIONS] [SERVICE...]", Short: "List containers", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runPs(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "table", "Format output using a custom template:\n'table': table with headers (default)\n'table TEMPLATE': table using the given Go template\n'json': JSON, one object per line\n'TEMPLATE': the given Go template")
	f.StringVar(&o.filter, "filter", "", "Filter services by a property (supported filters: status)")
	f.StringArrayVar(&o.status, "status", nil, "Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only display IDs")
	f.BoolVar(&o.services, "services", false, "Display services")
	f.BoolVar(&o.orphans, "orphans", true, "Include orphaned services (not declared by project)")
	f.BoolVarP(&o.all, "all", "a", false, "Show all stopped containers (including those created by the run command)")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(containerStates, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

var containerStates = []string{"paused", "restarting", "removing", "running", "dead", "created", "exited"}

func (o *psOptions) check() error {
	if o.filter != "" {
		key, value, ok := strings.Cut(o.filter, "=")
		switch {
		case !ok:
			return usagef("invalid --filter %q: use status=STATUS", o.filter)
		case key != "status":
			return usagef("unknown --filter %q: only status is supported", o.filter)
		}
		o.status = append(o.status, value)
	}
	for _, s := range o.status {
		if !slices.Contains(containerStates, s) {
			return usagef("unknown status %q: use one of %s", s, strings.Join(containerStates, ", "))
		}
	}
	return nil
}

func runPs(ctx context.Context, c *cli, o psOptions, services []string) error {
	if err := o.check(); err != nil {
		return err
	}
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	all := o.all || len(o.status) > 0
	list, err := containers(ctx, api, t.name, selection{all: all, oneOff: o.all})
	if err != nil {
		return err
	}
	if err := t.check(services, servicesOf(list)); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s container.Summary) bool { return !o.shows(t, s, services) })
	return o.print(c.out, list, time.Now())
}

// shows says whether a container is among those asked for.
func (o psOptions) shows(t target, s container.Summary, services []string) bool {
	row := psRow{c: s}
	if len(services) > 0 && !slices.Contains(services, row.Service()) {
		return false
	}
	if len(o.status) > 0 && !slices.Contains(o.status, string(s.State)) {
		return false
	}
	if !o.orphans && t.definition != nil {
		if _, ok := t.definition.Service(row.Service()); !ok {
			return false
		}
	}
	return true
}

func (o psOptions) print(w io.Writer, list []container.Summary, now time.Time) error {
	switch {
	case o.quiet:
		for _, s := range list {
			fmt.Fprintln(w, s.ID)
		}
		return nil
	case o.services:
		for _, name := range servicesOf(list) {
			fmt.Fprintln(w, name)
		}
		return nil
	}
	return printRows(w, o.format, psTable, psHeaders, list, func(s container.Summary) formatter.SubContext {
		return &psRow{c: s, trunc: !o.noTrunc, now: now}
	})
}

// printRows writes a list as --format asks: a table, JSON lines, or a template.
func printRows[T any](w io.Writer, format, table string, headers formatter.SubHeaderContext, list []T, row func(T) formatter.SubContext) error {
	switch format {
	case "", formatter.TableFormatKey, formatter.PrettyFormatKey:
		format = table
	}
	out := formatter.Context{Output: w, Format: formatter.Format(format)}
	return out.Write(&formatter.HeaderContext{Header: headers}, func(write func(formatter.SubContext) error) error {
		for _, item := range list {
			if err := write(row(item)); err != nil {
				return err
			}
		}
		return nil
	})
}
