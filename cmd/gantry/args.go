package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func minimumArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%q requires at least %d argument(s); see '%s --help'", cmd.CommandPath(), n, cmd.CommandPath())
		}
		return nil
	}
}

func exactArgs(n int) cobra.PositionalArgs { return rangeArgs(n, n) }

func rangeArgs(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usagef("%q takes %s; see '%s --help'", cmd.CommandPath(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "), cmd.CommandPath())
		}
		return nil
	}
}

// noTTYAlias lets --no-TTY stand for --no-tty, as Docker Compose does.
func noTTYAlias(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "no-TTY" {
		name = "no-tty"
	}
	return pflag.NormalizedName(name)
}

// fromEnvironment completes KEY to KEY=VALUE from the environment; a variable
// that is not set there stays as it is, and is removed in the container.
func fromEnvironment(vars []string, getenv func(string) string) []string {
	out := make([]string, 0, len(vars))
	for _, v := range vars {
		if !strings.Contains(v, "=") {
			if value := getenv(v); value != "" {
				v += "=" + value
			}
		}
		out = append(out, v)
	}
	return out
}

// variablesOf reads KEY=VALUE from files, sorted; a later file wins.
func variablesOf(files []string, getenv func(string) string) ([]string, error) {
	all := map[string]string{}
	for _, file := range files {
		values, err := dotenv.ReadFile(file, func(name string) (string, bool) { v := getenv(name); return v, v != "" })
		if err != nil {
			return nil, usagef("--env-from-file: %v", err)
		}
		maps.Copy(all, values)
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, name+"="+all[name])
	}
	return out, nil
}
