package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"

	"github.com/spf13/cobra"
)

const unitPath = "/etc/systemd/system/gantry.service"

// unit lets containers outlive the daemon: only the daemon's own process is
// ended, and the cgroups below it are left to it. When the host goes down, the
// daemon ends them, and has time for it.
const unit = `[Unit]
Description=Gantry, compose projects on an embedded containerd
After=network-online.target nss-lookup.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=%s daemon
Restart=always
RestartSec=1
KillMode=process
TimeoutStopSec=5min
Delegate=yes
OOMScoreAdjust=-500
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`

func newSystemInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install",
		Short: "Write and enable a systemd unit for the daemon",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return installUnit(cmd) },
	}
}

func newSystemUninstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Stop the daemon and remove its systemd unit; containers and data stay",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return uninstallUnit(cmd) },
	}
}

func installUnit(cmd *cobra.Command) error {
	if os.Geteuid() != 0 {
		return errors.New("installing the daemon needs root: use sudo gantry system install")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return err
	}
	if _, err := user.LookupGroup("gantry"); err != nil {
		if err := systemRun("groupadd", "--system", "gantry"); err != nil {
			return err
		}
	}
	tmp := unitPath + ".new"
	if err := os.WriteFile(tmp, fmt.Appendf(nil, unit, self), 0o644); err != nil {
		return err
	}
	if err := os.Rename(tmp, unitPath); err != nil {
		return err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "gantry.service"}, {"restart", "gantry.service"}} {
		if err := systemRun("systemctl", args...); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "The daemon runs and starts at boot (%s).\nTo use it without sudo: usermod -aG gantry USER, then log in again.\n", unitPath)
	return nil
}

func uninstallUnit(cmd *cobra.Command) error {
	if os.Geteuid() != 0 {
		return errors.New("uninstalling the daemon needs root: use sudo gantry system uninstall")
	}
	if _, err := os.Stat(unitPath); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no unit %s", unitPath)
	}
	if err := systemRun("systemctl", "disable", "--now", "gantry.service"); err != nil {
		return err
	}
	if err := os.Remove(unitPath); err != nil {
		return err
	}
	if err := systemRun("systemctl", "daemon-reload"); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), "The daemon is stopped and its unit removed. Containers run on; data stays in its data root.")
	return nil
}

// systemRun runs a program of the system and shows what it said if it fails.
func systemRun(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}
