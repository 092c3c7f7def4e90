package docker

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/spf13/cobra"
)

type provider struct{ file configfile.ConfigFile }

func (p *provider) ConfigFile() *configfile.ConfigFile { return &p.file }

// The variable is the docker CLI's: a plugin below it is found.
func TestSystemPluginDirsAreTheDockerCLIs(t *testing.T) {
	before, dir := systemPluginDirs, t.TempDir()
	defer func() { systemPluginDirs = before }()
	config.SetDir(dir)
	plugin := "#!/bin/sh\necho '{\"SchemaVersion\": \"0.1.0\", \"Vendor\": \"test\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-probe"), []byte(plugin), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		dirs []string
		want int
	}{{[]string{dir}, 1}, {nil, 0}} {
		systemPluginDirs = tc.dirs
		found, err := manager.ListPlugins(&provider{}, &cobra.Command{})
		if err != nil || len(found) != tc.want {
			t.Errorf("in %v: %v, %v", tc.dirs, found, err)
		}
	}
}
