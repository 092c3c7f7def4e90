package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/docker/cli/opts"
	buildkit "github.com/moby/buildkit/client"
	buildctl "github.com/moby/buildkit/cmd/buildctl/build"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/sshforward"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
	"github.com/tonistiigi/fsutil"
)

// solveOptions puts flags into BuildKit's terms. Source: buildkit,
// frontend/dockerui.
func (f *Front) solveOptions(ctx context.Context, o *buildOptions, source string) (buildkit.SolveOpt, error) {
	s := buildkit.SolveOpt{Frontend: "dockerfile.v0", FrontendAttrs: map[string]string{}, LocalMounts: map[string]fsutil.FS{}}
	s.Session = append(s.Session, authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: authprovider.LoadAuthConfig(f.cli.ConfigFile())}))
	for _, step := range []func(*buildOptions, *buildkit.SolveOpt) error{f.arguments, limits, secrets, reproducible, caches, f.outputs, attestations} {
		if err := step(o, &s); err != nil {
			return s, err
		}
	}
	if len(o.ssh) == 0 && OverSSH(source) {
		if err := agents([]string{sshforward.DefaultID}, &s); err != nil {
			return s, err
		}
	}
	text, err := f.givenDockerfile(ctx, o, source)
	if err != nil {
		return s, err
	}
	return s, f.context(ctx, o, source, text, &s)
}

// arguments are those of the Dockerfile and of what it makes.
func (f *Front) arguments(o *buildOptions, s *buildkit.SolveOpt) error {
	switch {
	case o.squash:
		return errors.New("--squash is not supported: use a multi-stage build to keep an image small")
	case o.noCache && len(o.noCacheFilter) > 0:
		return errors.New("--no-cache and --no-cache-filter cannot currently be used together")
	case len(o.security) > 0:
		return errors.New("--security-opt is not supported in builds")
	case o.isolation != "" && o.isolation != "default":
		return fmt.Errorf("--isolation %q is not supported on Linux", o.isolation)
	case o.builder != "" && o.builder != "default":
		return fmt.Errorf("no builder %q found: there is one only, default", o.builder)
	}
	attrs := s.FrontendAttrs
	attrs["image-resolve-mode"] = "local"
	if o.pull {
		attrs["image-resolve-mode"] = "pull"
	}
	for k, v := range f.cli.ConfigFile().ParseProxyConfig(f.Host(), opts.ConvertKVStringsToMapWithNil(o.args)) {
		if v == nil {
			if env, ok := os.LookupEnv(k); ok {
				v = &env
			}
		}
		if v != nil {
			attrs["build-arg:"+k] = *v
		}
	}
	for k, v := range opts.ConvertKVStringsToMap(o.labels) {
		attrs["label:"+k] = v
	}
	if o.noCache {
		attrs["no-cache"] = ""
	} else if len(o.noCacheFilter) > 0 {
		attrs["no-cache"] = strings.Join(o.noCacheFilter, ",")
	}
	set(attrs, "target", o.target)
	if len(o.platforms) == 0 && f.Getenv("DOCKER_DEFAULT_PLATFORM") != "" {
		o.platforms = []string{f.Getenv("DOCKER_DEFAULT_PLATFORM")}
	}
	set(attrs, "platform", strings.Join(o.platforms, ","))
	set(attrs, "cgroup-parent", o.cgroupParent)
	s.AllowedEntitlements = o.allow
	switch o.network {
	case "", "default", "bridge":
	case "none":
		attrs["force-network-mode"] = "none"
	case "host":
		attrs["force-network-mode"] = "host"
		s.AllowedEntitlements = append(s.AllowedEntitlements, "network.host")
	default:
		return fmt.Errorf("network mode %q is not supported in builds: use default, host or none", o.network)
	}
	return nil
}

func set(attrs map[string]string, key, value string) {
	if value != "" {
		attrs[key] = value
	}
}

// limits are what steps may use.
func limits(o *buildOptions, s *buildkit.SolveOpt) error {
	for key, n := range map[string]int64{
		"memory": o.memory.Value(), "memswap": o.memorySwap.Value(), "shm-size": o.shm.Value(), "cpushares": o.shares, "cpuperiod": o.period, "cpuquota": o.quota,
	} {
		if n != 0 {
			s.FrontendAttrs[key] = strconv.FormatInt(n, 10)
		}
	}
	set(s.FrontendAttrs, "cpusetcpus", o.cpus)
	set(s.FrontendAttrs, "cpusetmems", o.mems)
	var ulimits []string
	for _, u := range o.ulimits.GetList() {
		ulimits = append(ulimits, u.String())
	}
	set(s.FrontendAttrs, "ulimit", strings.Join(ulimits, ","))
	var hosts []string
	for _, h := range o.hosts {
		name, addr, ok := strings.Cut(h, "=")
		if !ok {
			name, addr, ok = strings.Cut(h, ":")
		}
		addr = strings.Trim(addr, "[]")
		if !ok || name == "" || addr != "host-gateway" && net.ParseIP(addr) == nil {
			return fmt.Errorf("bad format for add-host: %q: write name:address", h)
		}
		hosts = append(hosts, name+"="+addr)
	}
	set(s.FrontendAttrs, "add-hosts", strings.Join(hosts, ","))
	return nil
}

// secrets are given to steps that mount them, and so are SSH agents.
func secrets(o *buildOptions, s *buildkit.SolveOpt) error {
	if len(o.secrets) > 0 {
		p, err := buildctl.ParseSecret(o.secrets)
		if err != nil {
			return fmt.Errorf("--secret: %w", err)
		}
		s.Session = append(s.Session, p)
	}
	if len(o.ssh) == 0 {
		return nil
	}
	return agents(o.ssh, s)
}

func agents(list []string, s *buildkit.SolveOpt) error {
	configs, err := buildctl.ParseSSH(list)
	if err != nil {
		return fmt.Errorf("--ssh: %w", err)
	}
	p, err := sshprovider.NewSSHAgentProvider(configs)
	if err != nil {
		return fmt.Errorf("--ssh: %w", err)
	}
	s.Session = append(s.Session, p)
	return nil
}
