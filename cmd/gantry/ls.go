package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"gantry/api/client"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/spf13/cobra"
)

type lsOptions struct {
	all, quiet bool
	format     string
	filter     []string
}

func newLsCommand(c *cli) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Short: "List running compose projects", Args: exactArgs(0), ValidArgsFunction: noCompletion,
		RunE: c.run(func(ctx context.Context, _ []string) error { return runLs(ctx, c, o) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "table", "Format the output. Values: [table | json]")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only display project names")
	f.StringArrayVar(&o.filter, "filter", nil, "Filter output based on conditions provided")
	f.BoolVarP(&o.all, "all", "a", false, "Show all stopped Compose projects")
	return cmd
}

func runLs(ctx context.Context, c *cli, o lsOptions) error {
	var patterns []string
	for _, f := range o.filter {
		key, value, ok := strings.Cut(f, "=")
		if !ok || key != "name" {
			return usagef("invalid --filter %q: use name=PATTERN", f)
		}
		patterns = append(patterns, value)
	}
	api := c.projects()
	defer api.Close()
	list, err := api.Projects(ctx, o.all)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s client.Summary) bool {
		return len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := path.Match(p, s.Name)
			return err == nil && ok || strings.Contains(s.Name, p)
		})
	})
	slices.SortFunc(list, func(a, b client.Summary) int { return strings.Compare(a.Name, b.Name) })
	return o.print(c.out, list)
}

// lsRow is a project as ls shows it.
type lsRow struct {
	formatter.HeaderContext
	s client.Summary
}

func (r *lsRow) MarshalJSON() ([]byte, error) { return formatter.MarshalJSON(r) }
func (r *lsRow) Name() string                 { return r.s.Name }
func (r *lsRow) ConfigFiles() string          { return strings.Join(r.s.ConfigFiles, ",") }

// Status is "exited(1), running(2)".
func (r *lsRow) Status() string {
	parts := make([]string, 0, len(r.s.States))
	for _, state := range slices.Sorted(maps.Keys(r.s.States)) {
		parts = append(parts, fmt.Sprintf("%s(%d)", state, r.s.States[state]))
	}
	return strings.Join(parts, ", ")
}

func (o lsOptions) print(w io.Writer, list []client.Summary) error {
	switch {
	case o.quiet:
		for _, s := range list {
			fmt.Fprintln(w, s.Name)
		}
		return nil
	case o.format == "json": // one array, as Docker Compose has it
		rows := []*lsRow{}
		for _, s := range list {
			rows = append(rows, &lsRow{s: s})
		}
		return json.NewEncoder(w).Encode(rows)
	}
	return printRows(w, o.format, "table {{.Name}}\t{{.Status}}\t{{.ConfigFiles}}",
		formatter.SubHeaderContext{"Name": "NAME", "Status": "STATUS", "ConfigFiles": "CONFIG FILES"},
		list, func(s client.Summary) formatter.SubContext { return &lsRow{s: s} })
}
