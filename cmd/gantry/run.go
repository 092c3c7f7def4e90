package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"

	"gantry/api/client"
	"gantry/cmd/gantry/terminal"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type runOptions struct {
	client.RunOptions
	overlay
	detach, noTTY, askTTY, interactive, quiet bool
	quietPull, quietBuild                     bool
	pull                                      string
	publish, envFiles                         []string
}

func newRunCommand(c *cli) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use: "run [OPTIONS] SERVICE [COMMAND] [ARGS...]", Short: "Run a one-off command on a service",
		Args: minimumArgs(1), ValidArgsFunction: c.oneService,
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.detach, "detach", "d", false, "Run container in background and print container ID")
	f.StringArrayVarP(&o.env, "env", "e", nil, "Set environment variables")
	f.StringArrayVar(&o.envFiles, "env-from-file", nil, "Set environment variables from file")
	f.StringArrayVarP(&o.labels, "label", "l", nil, "Add or override a label")
	f.BoolVar(&o.AutoRemove, "rm", false, "Automatically remove the container when it exits")
	f.BoolVarP(&o.noTTY, "no-tty", "T", !terminal.Is(c.out), "Disable pseudo-TTY allocation (default: auto-detected)")
	f.StringVar(&o.Name, "name", "", "Assign a name to the container")
	f.StringVarP(&o.user, "user", "u", "", "Run as specified username or uid")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	f.String("entrypoint", "", "Override the entrypoint of the image")
	f.StringSliceVar(&o.capAdd, "cap-add", nil, "Add Linux capabilities")
	f.StringSliceVar(&o.capDrop, "cap-drop", nil, "Drop Linux capabilities")
	f.BoolVar(&o.NoDeps, "no-deps", false, "Don't start linked services")
	f.StringArrayVarP(&o.volumes, "volume", "v", nil, "Bind mount a volume")
	f.StringArrayVarP(&o.publish, "publish", "p", nil, "Publish a container's port(s) to the host")
	f.BoolVar(&o.UseAliases, "use-aliases", false, "Use the service's network useAliases in the network(s) the container connects to")
	f.BoolVarP(&o.ServicePorts, "service-ports", "P", false, "Run command with all service's ports enabled and mapped to the host")
	f.BoolVar(&o.Build, "build", false, "Build image before starting container")
	f.StringVar(&o.pull, "pull", "policy", `Pull image before running ("always"|"missing"|"never")`)
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Don't print anything to STDOUT")
	f.BoolVar(&o.quietPull, "quiet-pull", false, "Pull without printing progress information")
	f.BoolVar(&o.quietBuild, "quiet-build", false, "Suppress progress output from the build process")
	f.BoolVar(&o.RemoveOrphans, "remove-orphans", c.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	f.BoolVarP(&o.interactive, "interactive", "i", true, "Keep STDIN open even if not attached")
	f.BoolVarP(&o.askTTY, "tty", "t", true, "Allocate a pseudo-TTY")
	f.MarkHidden("tty")
	f.SetNormalizeFunc(noTTYAlias)
	cmd.RunE = c.raw(func(ctx context.Context, args []string) error {
		if f.Changed("entrypoint") {
			entrypoint, err := f.GetString("entrypoint")
			if err != nil {
				return err
			}
			o.entrypoint = &entrypoint
		}
		o.RunOptions.Service, o.command = args[0], args[1:]
		return runRun(ctx, c, &o)
	})
	return cmd
}

func runRun(ctx context.Context, c *cli, o *runOptions) error {
	switch o.pull {
	case "policy", "":
	case "always", "missing", "never":
		o.Pull = o.pull
	default:
		return usagef("invalid value for --pull: %q: use always, missing or never", o.pull)
	}
	if o.ServicePorts && len(o.publish) > 0 {
		return usagef("--service-ports and --publish are incompatible")
	}
	preparing, stop := interruptible(ctx)
	defer stop()
	t, err := c.load(preparing, o.RunOptions.Service)
	if err != nil {
		return err
	}
	service, ok := t.definition.Service(o.RunOptions.Service)
	if !ok {
		return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no such service: %q", o.RunOptions.Service))
	}
	o.tty = !o.noTTY && o.askTTY && terminal.Is(c.out) && (!o.interactive || terminal.Is(c.in) || o.detach)
	o.stdin, o.stdinOnce = o.interactive, o.interactive && !o.detach
	files, err := variablesOf(o.envFiles, c.getenv)
	if err != nil {
		return err
	}
	o.env = append(files, fromEnvironment(o.env, c.getenv)...)
	if o.Config, o.Host, err = o.overlay.apply(service); err != nil {
		return err
	}
	if o.Publish, err = parsePublish(o.publish); err != nil {
		return err
	}
	if o.Name == "" {
		o.Name = oneOffName(t.name, service.Name)
	}
	if c.global.dryRun {
		return dryRun(preparing, c, t, client.VerbRun, nil, o.RunOptions)
	}
	d := c.display(!o.quietPull)
	err = doBuilding(preparing, c, t, client.VerbRun, nil, &telling{Display: d, quietBuild: o.quietBuild}, func(sessions map[string]string) client.RunOptions {
		run := o.RunOptions
		run.Sessions = sessions
		return run
	})
	d.Close()
	if err != nil && context.Cause(preparing) == errInterrupted {
		return errInterrupted
	}
	stop()
	if err != nil {
		return err
	}
	return startOneOff(ctx, c, o)
}

// startOneOff starts the container that the daemon has made.
func startOneOff(ctx context.Context, c *cli, o *runOptions) error {
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	if o.detach {
		if _, err := api.ContainerStart(ctx, o.Name, engine.ContainerStartOptions{}); err != nil {
			return err
		}
		if !o.quiet {
			fmt.Fprintln(c.out, o.Name)
		}
		return nil
	}
	p := process{c: c, api: api, id: o.Name, tty: o.tty, detachKeys: terminal.DefaultDetachKeys}
	if o.interactive {
		p.in = c.in
	}
	if o.quiet {
		quiet := *c
		quiet.out = io.Discard
		p.c = &quiet
	}
	condition := container.WaitConditionNextExit
	if o.AutoRemove {
		condition = container.WaitConditionRemoved
	}
	wait := p.wait(ctx, condition)
	conn, err := p.attach(ctx)
	if err != nil {
		return err
	}
	if !o.tty {
		defer p.proxySignals(ctx)()
	}
	if _, err := api.ContainerStart(ctx, o.Name, engine.ContainerStartOptions{}); err != nil {
		conn.Close()
		if o.AutoRemove { // it never ran, so nothing else removes it
			api.ContainerRemove(ctx, o.Name, engine.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
		return err
	}
	return p.follow(ctx, conn, wait)
}

// oneOffName is as Docker Compose names one-off containers.
func oneOffName(projectName, service string) string {
	var b [6]byte
	rand.Read(b[:]) // never fails
	return projectName + "-" + service + "-run-" + hex.EncodeToString(b[:])
}
