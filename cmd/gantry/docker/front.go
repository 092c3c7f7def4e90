// Package docker is a front end to the daemon made of the docker CLI's own
// commands.
package docker

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"

	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/command/commands"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/cli/cli/version"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// CLIVersion is the version of the docker CLI whose commands these are.
const CLIVersion = "29.7.2"

// Front runs command lines of the docker CLI's grammar.
type Front struct {
	Name        string // as which the program is called, "docker" in help
	Version     string // of the program
	DefaultHost string // unix:///PATH of this host's daemon
	In          io.Reader
	Out, Err    io.Writer
	Getenv      func(string) string

	// Dial connects to the host that Host names; Explain says what has become
	// of the daemon, if that is what an error is about, and nil otherwise.
	Dial    func(context.Context) (net.Conn, error)
	Explain func(error) error

	// Compose makes the command "compose"; nil for none. Errors of it are
	// returned by Run as they are.
	Compose func() *cobra.Command
	// Extra adds commands of ours below management commands, by name.
	Extra map[string][]*cobra.Command
	// Only names the commands that there are; nil for all.
	Only []string

	cli    *command.DockerCli
	target Target
}

// Host is where the daemon is, once global flags were parsed: a URL.
func (f *Front) Host() string { return f.target.Host }

// Run carries a command line out. Its flags before the command are docker's,
// unless the host is given. It returns nil, an *Exit when all is said, or an
// error of compose.
func (f *Front) Run(ctx context.Context, host string, args []string) error {
	version.Version, version.GitCommit, version.PlatformName, version.BuildTime = CLIVersion, "gantry-"+f.Version, "Gantry", ""
	root, rest, err := f.parse(ctx, host, args)
	if err != nil {
		return f.finish(ctx, err)
	}
	root.SetArgs(rest)
	if f.Compose != nil && len(rest) > 0 && rest[0] == "compose" {
		root.AddCommand(f.Compose()) // alone: making all of docker's takes a millisecond
		return root.ExecuteContext(ctx)
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	go leaveAtThird(ctx, f.cli)
	f.populate(root)
	return f.finish(ctx, root.ExecuteContext(ctx))
}

// parse reads the flags before the command, and returns what follows them.
func (f *Front) parse(ctx context.Context, host string, args []string) (root *cobra.Command, rest []string, err error) {
	if f.cli, err = command.NewDockerCli(
		command.WithBaseContext(ctx), command.WithInputStream(readCloser(f.In)),
		command.WithOutputStream(f.Out), command.WithErrorStream(f.Err),
	); err != nil {
		return nil, nil, err
	}
	logrus.SetOutput(f.Err)
	root, opts := f.root()
	top := cli.NewTopLevelCommand(root, f.cli, opts, root.Flags())
	top.SetArgs(args)
	if _, rest, err = top.HandleGlobalFlags(); err != nil {
		return nil, nil, err
	}
	if f.target, err = f.resolve(opts, host, root.Flags().Changed(flags.FlagTLSVerify)); err != nil {
		return nil, nil, err
	}
	if err := top.Initialize(); err != nil {
		return nil, nil, err
	}
	return root, rest, f.connect()
}

// root is the command before all others.
func (f *Front) root() (*cobra.Command, *flags.ClientOptions) {
	root := &cobra.Command{
		Use:              f.Name + " [OPTIONS] COMMAND [ARG...]",
		Short:            "Containers and compose projects on an embedded containerd",
		SilenceUsage:     true,
		SilenceErrors:    true,
		TraverseChildren: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return command.ShowHelp(f.cli.Err())(cmd, args)
			}
			return fmt.Errorf("%[1]s: unknown command: %[1]s %[2]s\n\nRun '%[1]s --help' for more information", f.Name, args[0])
		},
		PersistentPreRunE:     func(cmd *cobra.Command, _ []string) error { return supported(cmd, f.cli) },
		Version:               fmt.Sprintf("%s, build %s", version.Version, version.GitCommit),
		DisableFlagsInUseLine: true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd:    true,
			DisableDescriptions: f.Getenv("DOCKER_CLI_DISABLE_COMPLETION_DESCRIPTION") != "",
		},
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetIn(f.cli.In())
	root.SetOut(f.cli.Out())
	root.SetErr(f.cli.Err())
	opts, _ := cli.SetupRootCommand(root)
	delete(root.Annotations, "additionalHelp") // it leads to Docker's guides
	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	root.RegisterFlagCompletionFunc("context", f.contextNames)
	root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error", "fatal", "panic"}, cobra.ShellCompDirectiveNoFileComp))
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		hideUnsupported(cmd, f.cli)
		help(cmd, args)
	})
	return root, opts
}

// populate adds the commands.
func (f *Front) populate(root *cobra.Command) {
	if f.Compose != nil {
		root.AddCommand(f.Compose())
	}
	commands.AddCommands(root, f.cli)
	for _, cmd := range root.Commands() {
		if _, replaced := instead[cmd.Name()]; replaced || f.Only != nil && !slices.Contains(f.Only, cmd.Name()) {
			root.RemoveCommand(cmd)
		}
		cmd.AddCommand(f.Extra[cmd.Name()]...)
	}
	f.addBuild(root)
	for _, path := range [][]string{{"info"}, {"system", "info"}} {
		if info, _, err := root.Find(path); err == nil {
			f.withoutPlugins(info)
		}
	}
	if f.Only == nil {
		root.AddCommand(unsupportedCommands(f.Name, instead)...)
	}
}

// readCloser leaves a file what it is: terminals are told by it.
func readCloser(r io.Reader) io.ReadCloser {
	if file, ok := r.(*os.File); ok {
		return file
	}
	return io.NopCloser(r)
}
