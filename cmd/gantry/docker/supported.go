package docker

import (
	"errors"
	"fmt"

	"github.com/docker/cli/cli/command"
	"github.com/moby/moby/client/pkg/versions"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// details are what a daemon says of itself. Asking may cost a request.
type details interface {
	CurrentVersion() string
	ServerInfo() command.ServerInfo
}

// lacking says what a daemon lacks for a command or flag with these
// annotations, "" for nothing. Source: the docker CLI's annotations.
func lacking(annotations map[string]string, d details) string {
	if v, ok := annotations["version"]; ok && versions.LessThan(d.CurrentVersion(), v) {
		return fmt.Sprintf("requires API version %s, but the Docker daemon API version is %s", v, d.CurrentVersion())
	}
	if v, ok := annotations["ostype"]; ok {
		if os := d.ServerInfo().OSType; os != "" && os != v {
			return fmt.Sprintf("is only supported on a Docker daemon running on %s, but the Docker daemon is running on %s", v, os)
		}
	}
	if _, ok := annotations["experimental"]; ok && !d.ServerInfo().HasExperimental {
		return "is only supported on a Docker daemon with experimental features enabled"
	}
	return ""
}

// ofFlag are a flag's annotations as a command has them.
func ofFlag(f *pflag.Flag) map[string]string {
	out := make(map[string]string, len(f.Annotations))
	for k, v := range f.Annotations {
		out[k] = ""
		if len(v) == 1 {
			out[k] = v[0]
		}
	}
	return out
}

// supported refuses a command, or flags given to it, that the daemon cannot
// carry out.
func supported(cmd *cobra.Command, d details) error {
	for c := cmd; c != nil; c = c.Parent() {
		if text := lacking(c.Annotations, d); text != "" {
			return fmt.Errorf("%s %s", cmd.CommandPath(), text)
		}
	}
	var errs []error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if text := lacking(ofFlag(f), d); text != "" {
			errs = append(errs, fmt.Errorf(`"--%s" %s`, f.Name, text))
		}
	})
	return errors.Join(errs...)
}

// hideUnsupported takes out of a command's help what the daemon cannot do, and
// what is for clusters.
func hideUnsupported(cmd *cobra.Command, d details) {
	hide := func(annotations map[string]string) bool {
		_, swarm := annotations["swarm"]
		return swarm || lacking(annotations, d) != ""
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = f.Hidden || hide(ofFlag(f)) })
	for _, c := range cmd.Commands() {
		c.Hidden = c.Hidden || hide(c.Annotations)
	}
}
