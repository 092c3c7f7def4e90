package main

import (
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"gantry/project"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-connections/nat"
	"github.com/google/shlex"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// overlay is what the flags of run change about a service.
type overlay struct {
	command               []string
	entrypoint            *string
	env, labels           []string
	user, workdir         string
	volumes               []string
	capAdd, capDrop       []string
	tty, stdin, stdinOnce bool
}

// apply returns the service's configuration with the flags laid over it. The
// service stays as it is.
func (o overlay) apply(s *project.Service) (*container.Config, *container.HostConfig, error) {
	config, host := s.Config, s.HostConfig
	if o.entrypoint != nil {
		words, err := shlex.Split(*o.entrypoint)
		if err != nil {
			return nil, nil, usagef("invalid --entrypoint %q: %v", *o.entrypoint, err)
		}
		if len(words) == 0 {
			words = []string{""} // none, not even the image's
		}
		config.Entrypoint, config.Cmd = words, []string{}
	}
	if len(o.command) > 0 {
		config.Cmd = slices.Clone(o.command)
	}
	config.Env = mergeEnv(config.Env, o.env)
	config.Labels = maps.Clone(config.Labels)
	if config.Labels == nil {
		config.Labels = map[string]string{}
	}
	for _, l := range o.labels {
		k, v, _ := strings.Cut(l, "=")
		if k == "" {
			return nil, nil, usagef("invalid --label %q: use KEY=VALUE", l)
		}
		config.Labels[k] = v
	}
	if o.user != "" {
		config.User = o.user
	}
	if o.workdir != "" {
		config.WorkingDir = o.workdir
	}
	config.Tty, config.OpenStdin, config.StdinOnce = o.tty, o.stdin, o.stdinOnce
	host.CapAdd = slices.Concat(without(host.CapAdd, o.capDrop), o.capAdd)
	host.CapDrop = slices.Concat(without(host.CapDrop, o.capAdd), o.capDrop)
	var err error
	host.Mounts, err = overlayMounts(host.Mounts, o.volumes)
	return &config, &host, err
}

// mergeEnv lays KEY=VALUE over KEY=VALUE; a bare KEY removes.
func mergeEnv(base, over []string) []string {
	out := slices.Clone(base)
	for _, v := range over {
		key, _, valued := strings.Cut(v, "=")
		out = slices.DeleteFunc(out, func(e string) bool { return e == key || strings.HasPrefix(e, key+"=") })
		if valued {
			out = append(out, v)
		}
	}
	return out
}

// overlayMounts adds volumes in their short form; one at the same target is
// replaced.
func overlayMounts(base []mount.Mount, volumes []string) ([]mount.Mount, error) {
	out := slices.Clone(base)
	for _, spec := range volumes {
		v, err := format.ParseVolume(spec)
		if err != nil {
			return nil, usagef("invalid --volume %q: %v", spec, err)
		}
		m := mount.Mount{Type: mount.Type(v.Type), Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly}
		switch v.Type {
		case types.VolumeTypeBind:
			if m.Source, err = filepath.Abs(v.Source); err != nil {
				return nil, fmt.Errorf("--volume %q: %w", spec, err)
			}
			m.BindOptions = &mount.BindOptions{CreateMountpoint: true}
			if v.Bind != nil {
				m.BindOptions.Propagation = mount.Propagation(v.Bind.Propagation)
			}
		case types.VolumeTypeVolume:
			if v.Volume != nil && v.Volume.NoCopy {
				m.VolumeOptions = &mount.VolumeOptions{NoCopy: true}
			}
		}
		out = slices.DeleteFunc(out, func(old mount.Mount) bool { return old.Target == m.Target })
		out = append(out, m)
	}
	return out, nil
}

// parsePublish reads [IP:][HOST:]CONTAINER[/PROTOCOL], ranges included.
func parsePublish(specs []string) (network.PortMap, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	out := network.PortMap{}
	for _, spec := range specs {
		mappings, err := nat.ParsePortSpec(spec)
		if err != nil {
			return nil, usagef("invalid --publish %q: %v", spec, err)
		}
		for _, m := range mappings {
			port, err := network.ParsePort(string(m.Port))
			if err != nil {
				return nil, usagef("invalid --publish %q: %v", spec, err)
			}
			binding := network.PortBinding{HostPort: m.Binding.HostPort}
			if m.Binding.HostIP != "" {
				if binding.HostIP, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
					return nil, usagef("invalid --publish %q: %v", spec, err)
				}
			}
			out[port] = append(out[port], binding)
		}
	}
	return out, nil
}
