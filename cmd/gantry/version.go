package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "dev"

type versionOptions struct {
	format string
	short  bool
}

func newVersionCommand(c *cli) *cobra.Command {
	var o versionOptions
	cmd := &cobra.Command{
		Use: "version [OPTIONS]", Short: "Show the Gantry version information", Args: exactArgs(0), ValidArgsFunction: noCompletion,
		RunE: c.run(func(context.Context, []string) error { return printVersion(c.out, o) }),
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", "Format the output. Values: [pretty | json]. (Default: pretty)")
	cmd.Flags().BoolVar(&o.short, "short", false, "Shows only Gantry's version number")
	return cmd
}

func printVersion(w io.Writer, o versionOptions) error {
	switch {
	case o.short:
		_, err := fmt.Fprintln(w, version)
		return err
	case o.format == "json":
		return json.NewEncoder(w).Encode(map[string]string{"version": version})
	case o.format != "" && o.format != "pretty":
		return usagef("unsupported --format %q: use pretty or json", o.format)
	}
	_, err := fmt.Fprintln(w, "Gantry version "+version)
	return err
}
