package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Merge completes config by what the image says, as dockerd does when it
// creates a container. image is not changed and shares nothing with config
// afterwards.
func Merge(config *container.Config, image dockerspec.DockerOCIImageConfig) error {
	ports, err := mergePorts(config.ExposedPorts, image.ExposedPorts)
	if err != nil {
		return err
	}
	config.ExposedPorts = ports
	config.Env = mergeEnv(config.Env, image.Env)
	config.Labels = mergeMap(config.Labels, image.Labels)
	config.Volumes = mergeMap(config.Volumes, image.Volumes)
	mergeCommand(config, image)
	config.Healthcheck = mergeHealthcheck(config.Healthcheck, image.Healthcheck)
	setDefault(&config.User, image.User)
	setDefault(&config.WorkingDir, image.WorkingDir)
	setDefault(&config.StopSignal, image.StopSignal)
	if len(config.Shell) == 0 {
		config.Shell = slices.Clone(image.Shell)
	}
	return nil
}

// mergeCommand keeps Docker's rule: an entrypoint of the user's own, even an
// empty one, hides the image's; the image's command stays unless the user
// gives a command or an entrypoint with something in it. [""] is the CLI's way
// to say "none".
func mergeCommand(config *container.Config, image dockerspec.DockerOCIImageConfig) {
	if len(config.Entrypoint) == 0 {
		if len(config.Cmd) == 0 {
			config.Cmd = slices.Clone(image.Cmd)
			config.ArgsEscaped = image.ArgsEscaped //nolint:staticcheck // kept for images built for Windows
		}
		if config.Entrypoint == nil {
			config.Entrypoint = slices.Clone(image.Entrypoint)
		}
	}
	if len(config.Entrypoint) == 1 && config.Entrypoint[0] == "" {
		config.Entrypoint = nil
	}
}

func mergePorts(config network.PortSet, image map[string]struct{}) (network.PortSet, error) {
	if len(image) == 0 {
		return config, nil
	}
	out := network.PortSet{}
	maps.Copy(out, config)
	for _, name := range slices.Sorted(maps.Keys(image)) {
		p, err := network.ParsePort(name)
		if err != nil {
			return nil, fmt.Errorf("the image exposes port %q: %v: %w", name, err, errdefs.ErrInvalidArgument)
		}
		out[p] = struct{}{}
	}
	return out, nil
}

// mergeEnv puts the image's variables behind the user's, save those that the
// user has set, or removed by a name without "=".
func mergeEnv(config, image []string) []string {
	out := slices.Clone(config)
	for _, v := range image {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(config, func(e string) bool { n, _, _ := strings.Cut(e, "="); return n == name }) {
			out = append(out, v)
		}
	}
	return out
}

func mergeMap[V any](config, image map[string]V) map[string]V {
	if len(image) == 0 {
		return config
	}
	out := maps.Clone(image)
	maps.Copy(out, config)
	return out
}

// mergeHealthcheck takes each field that the user leaves out from the image.
func mergeHealthcheck(config, image *container.HealthConfig) *container.HealthConfig {
	if image == nil {
		return config
	}
	out := *image
	out.Test = slices.Clone(image.Test)
	if config == nil {
		return &out
	}
	if len(config.Test) > 0 {
		out.Test = config.Test
	}
	override(&out.Interval, config.Interval)
	override(&out.Timeout, config.Timeout)
	override(&out.StartPeriod, config.StartPeriod)
	override(&out.StartInterval, config.StartInterval)
	override(&out.Retries, config.Retries)
	return &out
}

// setDefault sets an empty value.
func setDefault[T comparable](to *T, v T) {
	var zero T
	if *to == zero {
		*to = v
	}
}

// override sets to unless v is empty.
func override[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}
