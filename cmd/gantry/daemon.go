package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"gantry/cmd/gantry/heap"
	"gantry/daemon"

	"github.com/spf13/cobra"
)

// daemonOptions are the flags of the daemon, named as dockerd names them.
type daemonOptions struct {
	configFile string
	hosts      []string
	config     daemon.Config // flags that were given, see merge
}

func newDaemonCommand() *cobra.Command {
	var o daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon [OPTIONS]",
		Short: "Run the daemon in the foreground",
		Long: "Run the daemon in the foreground. It is started on demand by the other commands,\n" +
			"and by systemd after \"gantry system install\". Containers outlive it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDaemon(cmd, &o) },
		// the daemon needs no connection to itself
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
	}
	f := cmd.Flags()
	f.StringVar(&o.configFile, "config-file", daemon.DefaultConfigFile, "Daemon configuration file")
	f.StringVar(&o.config.DataRoot, "data-root", daemon.DefaultDataRoot, "Root directory of persistent state")
	f.StringVar(&o.config.ExecRoot, "exec-root", daemon.DefaultExecRoot, "Root directory of execution state, wiped by a reboot")
	f.StringArrayVarP(&o.hosts, "host", "H", nil, "Socket to listen on, unix:///PATH or fd:// (default EXEC-ROOT/gantry.sock)")
	f.StringVarP(&o.config.Pidfile, "pidfile", "p", "", "Path of a file for the daemon's process ID")
	f.StringVarP(&o.config.LogLevel, "log-level", "l", "info", `Logging level ("debug"|"info"|"warn"|"error")`)
	f.StringVarP(&o.config.Group, "group", "G", "gantry", "Group that may use the unix socket")
	f.StringVar(&o.config.Containerd, "containerd", "", "Socket of a containerd to use instead of the embedded one")
	f.StringArrayVar(&o.config.InsecureRegistries, "insecure-registry", nil, "Registry to be used without TLS")
	f.StringArrayVar(&o.config.RegistryMirrors, "registry-mirror", nil, "Preferred mirror of Docker Hub")
	return cmd
}

func runDaemon(cmd *cobra.Command, o *daemonOptions) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the daemon must run as root: use sudo gantry daemon")
	}
	cfg, err := daemon.Load(o.configFile, cmd.Flags().Changed("config-file"))
	if err != nil {
		return err
	}
	heap.Restore()
	o.config.Hosts = o.hosts
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	cfg.Override(o.config, given)
	ctx, stop := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return daemon.Run(ctx, cfg, version)
}
