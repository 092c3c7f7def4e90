package main

import (
	"fmt"
	"slices"
	"strings"

	"gantry/cmd/gantry/progress"

	"github.com/spf13/cobra"
)

// globals are the flags that stand before the verb, with Docker Compose's
// names.
type globals struct {
	files             []string
	projectName       string
	profiles          []string
	projectDirectory  string
	envFiles          []string
	ansi              string
	progress          string
	dryRun            bool
	parallel          int
	ignoreUnsupported bool
	host              string
	verbose           bool
	version           bool
}

// newRootCommand is the grammar of "gantry": compose verbs, the docker CLI's
// management commands, and what concerns the host.
func newRootCommand(c *cli) *cobra.Command {
	root := newComposeCommand(c, "gantry")
	root.Short = "Run compose projects on an embedded containerd"
	root.Long = "Gantry runs the services of a compose file on an embedded containerd.\n" +
		"Its verbs and their flags are Docker Compose's; its management commands are Docker's."
	root.SilenceErrors, root.SilenceUsage, root.DisableFlagsInUseLine = true, true, true
	const project, management = "project", "management"
	root.AddGroup(&cobra.Group{ID: project, Title: "Project Commands:"}, &cobra.Group{ID: management, Title: "Management Commands:"})
	for _, cmd := range root.Commands() {
		if !cmd.Hidden {
			cmd.GroupID = project
		}
	}
	for _, cmd := range managementCommands(c) {
		cmd.GroupID = management
		root.AddCommand(cmd)
	}
	compose := &cobra.Command{
		Use: "compose", Short: "The same verbs, as \"docker compose\" has them",
		TraverseChildren: true, Args: knownVerb, RunE: c.bare, SuggestionsMinimumDistance: 2,
	}
	c.projectFlags(compose)
	compose.AddCommand(verbs(c)...)
	compose.AddCommand(refusals()...)
	root.AddCommand(compose, newDaemonCommand())
	return root
}

// newComposeCommand is a command with the compose verbs below it, by the name
// that it is called.
func newComposeCommand(c *cli, name string) *cobra.Command {
	root := &cobra.Command{
		Use: name, Short: "Define and run multi-container applications",
		TraverseChildren: true, Args: knownVerb, RunE: c.bare, SuggestionsMinimumDistance: 2,
		PersistentPreRunE: func(*cobra.Command, []string) error { return c.prepare() },
	}
	root.SetFlagErrorFunc(usageError)
	f := root.PersistentFlags()
	f.BoolVar(&c.global.dryRun, "dry-run", false, "Show the plan with its causes, and change nothing")
	f.BoolVar(&c.global.ignoreUnsupported, "ignore-unsupported", false, "Warn about compose keys that are not supported, and run without them")
	f.StringVar(&c.global.ansi, "ansi", "", `Control when to print ANSI control characters ("never"|"always"|"auto")`)
	f.StringVar(&c.global.progress, "progress", "", `Set type of progress output ("auto"|"tty"|"plain"|"json"|"quiet")`)
	f.StringVarP(&c.global.host, "host", "H", "", "Daemon socket to connect to (default $GANTRY_HOST, then "+defaultHost+")")
	f.BoolVarP(&c.global.verbose, "verbose", "D", false, "Show why each step is taken")
	c.projectFlags(root)
	root.AddCommand(verbs(c)...)
	root.AddCommand(refusals()...)
	return root
}

// projectFlags are local to the command before the verb: verbs have other
// flags with the same letters.
func (c *cli) projectFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringArrayVarP(&c.global.files, "file", "f", nil, "Compose configuration files")
	f.StringVarP(&c.global.projectName, "project-name", "p", "", "Project name")
	f.StringArrayVar(&c.global.profiles, "profile", nil, "Specify a profile to enable")
	f.StringVar(&c.global.projectDirectory, "project-directory", "", "Specify an alternate working directory\n(default: the path of the, first specified, Compose file)")
	f.StringArrayVar(&c.global.envFiles, "env-file", nil, "Specify an alternate environment file")
	f.IntVar(&c.global.parallel, "parallel", -1, "Control max parallelism, -1 for unlimited")
	f.BoolVarP(&c.global.version, "version", "v", false, "Show the version")
	f.StringVar(&c.global.projectDirectory, "workdir", "", "")
	f.MarkHidden("workdir")
}

// verbs makes a fresh set of the verbs.
func verbs(c *cli) []*cobra.Command {
	return []*cobra.Command{
		newUpCommand(c), newDownCommand(c), newPsCommand(c), newLogsCommand(c), newExecCommand(c), newRunCommand(c),
		newStartCommand(c), newStopCommand(c), newRestartCommand(c), newKillCommand(c), newPauseCommand(c), newUnpauseCommand(c),
		newRemoveCommand(c), newPortCommand(c), newTopCommand(c), newPullCommand(c), newPushCommand(c), newImagesCommand(c), newLsCommand(c),
		newWaitCommand(c), newConfigCommand(c), newCommitCommand(c), newCpCommand(c), newCreateCommand(c), newEventsCommand(c),
		newVersionCommand(c), newAttachCommand(c), newBuildCommand(c),
		newScaleCommand(c), newStatsCommand(c), newVolumesCommand(c), newExportCommand(c), newWatchCommand(c), newPublishCommand(c),
	}
}

// knownVerb refuses what is left when no verb was recognised.
func knownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command: %q; see '%s --help'", cmd.CommandPath()+" "+args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		slices.SortStableFunc(near, func(a, b string) int { // a letter too many is likelier than another word
			return len(strings.TrimPrefix(args[0], a)) - len(strings.TrimPrefix(args[0], b))
		})
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("%s", text)
}

// bare is the command without a verb.
func (c *cli) bare(cmd *cobra.Command, _ []string) error {
	if c.global.version {
		return printVersion(c.out, versionOptions{})
	}
	return cmd.Help()
}

// prepare checks the global flags, and fills them from the environment where
// Docker Compose does.
func (c *cli) prepare() error {
	g := &c.global
	if g.ansi == "" {
		g.ansi = firstOf(c.getenv("COMPOSE_ANSI"), "auto")
	}
	switch g.ansi {
	case "never", "always", "auto":
	default:
		return usagef("unsupported --ansi value %q: use never, always or auto", g.ansi)
	}
	mode, err := progress.ParseMode(firstOf(g.progress, c.getenv("COMPOSE_PROGRESS")))
	if err != nil {
		return usagef("%v", err)
	}
	g.progress = string(mode)
	if limit := c.getenv("COMPOSE_PARALLEL_LIMIT"); g.parallel < 0 && limit != "" {
		if _, err := fmt.Sscanf(limit, "%d", &g.parallel); err != nil {
			return usagef("COMPOSE_PARALLEL_LIMIT=%q is not a number", limit)
		}
	}
	if g.parallel == 0 || g.parallel < -1 {
		return usagef("--parallel must be a positive number, or -1 for no limit")
	}
	return nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
