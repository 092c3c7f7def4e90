package main

import (
	"context"
	"time"

	"gantry/api/client"

	"github.com/spf13/cobra"
)

type startOptions struct {
	wait        bool
	waitTimeout int
}

func newStartCommand(c *cli) *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use: "start [SERVICE...]", Short: "Start services", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error {
			t, err := c.find(ctx)
			if err != nil {
				return err
			}
			return act(ctx, c, t, client.VerbStart, services, client.StartOptions{
				Wait: o.wait, WaitTimeout: time.Duration(o.waitTimeout) * time.Second})
		}),
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "Wait for services to be running|healthy. Implies detached mode.")
	cmd.Flags().IntVar(&o.waitTimeout, "wait-timeout", 0, "Maximum duration in seconds to wait for the project to be running|healthy")
	return cmd
}

func newStopCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "stop [OPTIONS] [SERVICE...]", Short: "Stop services", ValidArgsFunction: c.serviceNames}
	cmd.Flags().IntP("timeout", "t", 0, "Specify a shutdown timeout in seconds")
	cmd.RunE = c.run(func(ctx context.Context, services []string) error {
		t, err := c.find(ctx)
		if err != nil {
			return err
		}
		return act(ctx, c, t, client.VerbStop, services, client.StopOptions{Timeout: secondsFlag(cmd, "timeout")})
	})
	return cmd
}

func newRestartCommand(c *cli) *cobra.Command {
	var noDeps bool
	cmd := &cobra.Command{Use: "restart [OPTIONS] [SERVICE...]", Short: "Restart service containers", ValidArgsFunction: c.serviceNames}
	cmd.Flags().IntP("timeout", "t", 0, "Specify a shutdown timeout in seconds")
	cmd.Flags().BoolVar(&noDeps, "no-deps", false, "Don't restart dependent services")
	cmd.RunE = c.run(func(ctx context.Context, services []string) error {
		t, err := c.find(ctx)
		if err != nil {
			return err
		}
		return act(ctx, c, t, client.VerbRestart, services, client.RestartOptions{Timeout: secondsFlag(cmd, "timeout"), NoDeps: noDeps})
	})
	return cmd
}

func newKillCommand(c *cli) *cobra.Command {
	var o client.KillOptions
	cmd := &cobra.Command{
		Use: "kill [OPTIONS] [SERVICE...]", Short: "Force stop service containers", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error {
			t, err := c.find(ctx)
			if err != nil {
				return err
			}
			return act(ctx, c, t, client.VerbKill, services, o)
		}),
	}
	cmd.Flags().StringVarP(&o.Signal, "signal", "s", "SIGKILL", "SIGNAL to send to the container")
	cmd.Flags().BoolVar(&o.RemoveOrphans, "remove-orphans", c.envBool("COMPOSE_REMOVE_ORPHANS"), "Remove containers for services not defined in the Compose file")
	return cmd
}

func newPauseCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "pause [SERVICE...]", Short: "Pause services", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error {
			t, err := c.find(ctx)
			if err != nil {
				return err
			}
			return act(ctx, c, t, client.VerbPause, services, client.NoOptions{})
		}),
	}
}

func newUnpauseCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "unpause [SERVICE...]", Short: "Unpause services", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error {
			t, err := c.find(ctx)
			if err != nil {
				return err
			}
			return act(ctx, c, t, client.VerbUnpause, services, client.NoOptions{})
		}),
	}
}
