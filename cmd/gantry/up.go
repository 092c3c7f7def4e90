package main

import (
	"context"
	"slices"
	"time"

	"gantry/api/client"

	"github.com/spf13/cobra"
)

type upOptions struct {
	createOptions
	detach                  bool
	noStart                 bool
	waitTimeout             int
	abortOnContainerExit    bool
	abortOnContainerFailure bool
	exitCodeFrom            string
	attach                  []string
	noAttach                []string
	attachDependencies      bool
	timestamps              bool
	noLogPrefix             bool
	noColor                 bool
	menu                    bool
	watch                   bool
}

func newUpCommand(c *cli) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{Use: "up [OPTIONS] [SERVICE...]", Short: "Create and start containers", ValidArgsFunction: c.serviceNames}
	o.flags(c, cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: Run containers in the background")
	f.BoolVar(&o.noStart, "no-start", false, "Don't start the services after creating them")
	f.BoolVar(&o.NoDeps, "no-deps", false, "Don't start linked services")
	f.BoolVar(&o.AlwaysRecreateDeps, "always-recreate-deps", false, "Recreate dependent containers. Incompatible with --no-recreate.")
	f.BoolVarP(&o.RenewAnonVolumes, "renew-anon-volumes", "V", false, "Recreate anonymous volumes instead of retrieving data from the previous containers")
	f.IntP("timeout", "t", 0, "Use this timeout in seconds for container shutdown when attached or when containers are already running")
	f.BoolVar(&o.Wait, "wait", false, "Wait for services to be running|healthy. Implies detached mode.")
	f.IntVar(&o.waitTimeout, "wait-timeout", 0, "Maximum duration in seconds to wait for the project to be running|healthy")
	f.BoolVar(&o.abortOnContainerExit, "abort-on-container-exit", false, "Stops all containers if any container was stopped. Incompatible with -d")
	f.BoolVar(&o.abortOnContainerFailure, "abort-on-container-failure", false, "Stops all containers if any container exited with failure. Incompatible with -d")
	f.StringVar(&o.exitCodeFrom, "exit-code-from", "", "Return the exit code of the selected service container. Implies --abort-on-container-exit")
	f.StringArrayVar(&o.attach, "attach", nil, "Restrict attaching to the specified services. Incompatible with --attach-dependencies.")
	f.StringArrayVar(&o.noAttach, "no-attach", nil, "Do not attach (stream logs) to the specified services")
	f.BoolVar(&o.attachDependencies, "attach-dependencies", false, "Automatically attach to log output of dependent services")
	f.BoolVar(&o.timestamps, "timestamps", false, "Show timestamps")
	f.BoolVar(&o.noLogPrefix, "no-log-prefix", false, "Don't print prefix in logs")
	f.BoolVar(&o.quietBuild, "quiet-build", false, "Suppress the build output")
	f.BoolVar(&o.noColor, "no-color", false, "Produce monochrome output")
	f.BoolVar(&o.menu, "menu", false, "Enable interactive shortcuts when running attached. Has no effect here.")
	f.MarkHidden("menu")
	f.BoolVarP(&o.watch, "watch", "w", false, "Watch source code and rebuild/refresh containers when files are updated.")
	for _, name := range []string{"exit-code-from", "attach", "no-attach"} {
		cmd.RegisterFlagCompletionFunc(name, c.serviceNames)
	}
	cmd.RunE = c.raw(func(ctx context.Context, services []string) error {
		o.Timeout = secondsFlag(cmd, "timeout")
		return runUp(ctx, c, &o, services)
	})
	return cmd
}

func runUp(ctx context.Context, c *cli, o *upOptions, services []string) error {
	if err := o.check(c); err != nil {
		return err
	}
	loading, stop := interruptible(ctx)
	t, err := c.load(loading, slices.Concat(services, o.attach)...)
	stop()
	if err != nil {
		return err
	}
	if err := t.checkScale(o.Scale); err != nil {
		return err
	}
	for _, name := range slices.Concat(o.attach, o.noAttach, listOf(o.exitCodeFrom)) {
		if err := t.check([]string{name}, nil); err != nil {
			return err
		}
	}
	if !o.detach && !o.noStart && !c.global.dryRun {
		return runAttached(ctx, c, t, services, o)
	}
	ctx, stop = interruptible(ctx)
	defer stop()
	v := client.VerbUp
	if o.noStart {
		v = client.VerbCreate
	}
	err = detached(ctx, c, t, v, services, &o.createOptions)
	if err != nil && context.Cause(ctx) == errInterrupted {
		return errInterrupted
	}
	return err
}

func (o *upOptions) check(c *cli) error {
	if err := o.createOptions.check(c); err != nil {
		return err
	}
	attachFlags := o.abortOnContainerExit || o.abortOnContainerFailure || o.exitCodeFrom != "" || len(o.attach) > 0 || o.attachDependencies
	switch {
	case o.Wait && attachFlags:
		return usagef("--wait cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --exit-code-from, --attach or --attach-dependencies")
	case o.detach && attachFlags:
		return usagef("--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --exit-code-from, --attach or --attach-dependencies")
	case o.watch && (o.detach || o.Wait || o.noStart):
		return usagef("--watch cannot be combined with --detach, --wait or --no-start")
	case o.abortOnContainerExit && o.abortOnContainerFailure:
		return usagef("--abort-on-container-exit and --abort-on-container-failure are incompatible")
	case o.AlwaysRecreateDeps && o.NoRecreate:
		return usagef("--always-recreate-deps and --no-recreate are incompatible")
	case len(o.attach) > 0 && o.attachDependencies:
		return usagef("--attach and --attach-dependencies are incompatible")
	case o.waitTimeout < 0:
		return usagef("--wait-timeout must not be negative")
	}
	if o.Wait {
		o.detach = true
	}
	if o.exitCodeFrom != "" {
		o.abortOnContainerExit = true
	}
	o.WaitTimeout = time.Duration(o.waitTimeout) * time.Second
	return nil
}

func listOf(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
