package docker

import (
	"strings"
	"testing"

	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"
)

type fakeDetails struct {
	version string
	info    command.ServerInfo
}

func (f fakeDetails) CurrentVersion() string         { return f.version }
func (f fakeDetails) ServerInfo() command.ServerInfo { return f.info }

func TestWhatADaemonLacksIsRefusedAndHidden(t *testing.T) {
	linux := fakeDetails{"1.44", command.ServerInfo{OSType: "linux"}}
	tree := func() (*cobra.Command, *cobra.Command) {
		root := &cobra.Command{Use: "docker"}
		cmd := &cobra.Command{Use: "run", Run: func(*cobra.Command, []string) {}}
		later := &cobra.Command{Use: "later", Annotations: map[string]string{"version": "1.50"}, Run: cmd.Run}
		cluster := &cobra.Command{Use: "cluster", Annotations: map[string]string{"swarm": "manager"}, Run: cmd.Run}
		root.AddCommand(cmd, later, cluster)
		f := cmd.Flags()
		for name, annotation := range map[string][2]string{"plain": {}, "new": {"version", "1.45"}, "old": {"version", "1.44"}, "isolation": {"ostype", "windows"}, "lab": {"experimental", ""}, "nodes": {"swarm", ""}} {
			f.Bool(name, false, "")
			if annotation[0] != "" {
				f.SetAnnotation(name, annotation[0], []string{annotation[1]})
			}
		}
		return root, cmd
	}
	for args, want := range map[string]string{
		"run --plain --old": "",
		"run --new":         `"--new" requires API version 1.45, but the Docker daemon API version is 1.44`,
		"run --isolation":   `"--isolation" is only supported on a Docker daemon running on windows`,
		"run --new --lab":   `"--lab" is only supported on a Docker daemon with experimental features`,
		"later":             "docker later requires API version 1.50",
	} {
		root, _ := tree()
		cmd, rest, err := root.Find(strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := supported(cmd, linux); err != nil {
			got = err.Error()
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("docker %s: %q, want %q", args, got, want)
		}
	}
	root, cmd := tree()
	hideUnsupported(root, linux)
	hideUnsupported(cmd, linux)
	usage := root.UsageString() + cmd.UsageString()
	for _, shown := range []string{"run", "--plain", "--old"} {
		if !strings.Contains(usage, shown) {
			t.Errorf("help lacks %q:\n%s", shown, usage)
		}
	}
	for _, hidden := range []string{"later", "cluster", "--new", "--isolation", "--lab", "--nodes"} {
		if strings.Contains(usage, hidden) {
			t.Errorf("help has %q:\n%s", hidden, usage)
		}
	}
}
