package docker

import (
	"os"
	_ "unsafe" // for go:linkname

	_ "github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli/config"
	"github.com/spf13/cobra"
)

// systemPluginDirs is where the docker CLI looks for plugins besides the
// user's directories. It has no setting for it.
//
//go:linkname systemPluginDirs github.com/docker/cli/cli-plugins/manager.defaultSystemPluginDirs
var systemPluginDirs []string

// withoutPlugins keeps "info" from running each plugin to ask for its name.
func (f *Front) withoutPlugins(info *cobra.Command) {
	run := info.RunE
	info.RunE = func(cmd *cobra.Command, args []string) error {
		dir := config.Dir()
		defer config.SetDir(dir)
		config.SetDir(os.DevNull)
		systemPluginDirs, f.cli.ConfigFile().CLIPluginsExtraDirs = nil, nil
		return run(cmd, args)
	}
}
