package docker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/cli/opts"
	buildkit "github.com/moby/buildkit/client"
	buildctl "github.com/moby/buildkit/cmd/buildctl/build"
	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/moby/go-archive/compression"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// solveOptions puts flags into BuildKit's terms. Source: buildkit,
// frontend/dockerui.
func (f *Front) solveOptions(o *buildOptions, source string) (buildkit.SolveOpt, error) {
	s := buildkit.SolveOpt{Frontend: "dockerfile.v0", FrontendAttrs: map[string]string{}, LocalMounts: map[string]fsutil.FS{}}
	s.Session = append(s.Session, authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: authprovider.LoadAuthConfig(f.cli.ConfigFile())}))
	for _, step := range []func(*buildOptions, *buildkit.SolveOpt) error{f.arguments, limits, secrets, contexts, reproducible, caches, f.outputs, attestations} {
		if err := step(o, &s); err != nil {
			return s, err
		}
	}
	return s, f.context(o, source, &s)
}

// arguments are those of the Dockerfile and of what it makes.
func (f *Front) arguments(o *buildOptions, s *buildkit.SolveOpt) error {
	switch {
	case o.squash:
		return errors.New("--squash is not supported: use a multi-stage build to keep an image small")
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
		if !ok || name == "" || net.ParseIP(addr) == nil {
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
	agents, err := buildctl.ParseSSH(o.ssh)
	if err != nil {
		return fmt.Errorf("--ssh: %w", err)
	}
	p, err := sshprovider.NewSSHAgentProvider(agents)
	if err != nil {
		return fmt.Errorf("--ssh: %w", err)
	}
	s.Session = append(s.Session, p)
	return nil
}

func contexts(o *buildOptions, s *buildkit.SolveOpt) error {
	for _, text := range o.contexts {
		name, from, ok := strings.Cut(text, "=")
		if !ok || name == "" || from == "" {
			return fmt.Errorf("--build-context %q: write name=path or name=url", text)
		}
		if isRemote(from) || strings.HasPrefix(from, "docker-image://") || strings.HasPrefix(from, "target:") {
			s.FrontendAttrs["context:"+name] = from
			continue
		}
		dir, err := directory(from)
		if err != nil {
			return fmt.Errorf("--build-context %q: %w", name, err)
		}
		s.LocalMounts[name], s.FrontendAttrs["context:"+name] = dir, "local:"+name
	}
	return nil
}

// context says where files come from: a directory, a URL, or stdin.
func (f *Front) context(o *buildOptions, source string, s *buildkit.SolveOpt) error {
	if source == "-" && o.file == "-" {
		return errors.New("invalid argument: can't use stdin for both build context and dockerfile")
	}
	if source == "-" || isRemote(source) {
		set(s.FrontendAttrs, "filename", o.file)
	}
	switch {
	case source == "-":
		in := bufio.NewReader(f.cli.In())
		head, err := in.Peek(512)
		if len(head) == 0 {
			return fmt.Errorf("no build context: stdin is empty: %w", err)
		}
		if _, err := tar.NewReader(bytes.NewReader(head)).Next(); err != nil && compression.Detect(head) == compression.None {
			s.LocalMounts["context"] = staticfs.NewFS()
			delete(s.FrontendAttrs, "filename")
			return f.stdinDockerfile(in, s)
		}
		up := uploadprovider.New()
		s.FrontendAttrs["context"] = up.Add(io.NopCloser(in))
		s.Session = append(s.Session, up)
		return nil
	case isRemote(source):
		s.FrontendAttrs["context"] = source
		return f.dockerfile(o, "", s)
	}
	dir, err := directory(source)
	if err != nil {
		return err
	}
	s.LocalMounts["context"] = dir
	return f.dockerfile(o, source, s)
}

// dockerfile says where the Dockerfile is; dir is the context's, "" for a
// remote one, which has it.
func (f *Front) dockerfile(o *buildOptions, dir string, s *buildkit.SolveOpt) error {
	switch {
	case o.file == "-":
		return f.stdinDockerfile(f.cli.In(), s)
	case dir == "":
		return nil
	case isRemote(o.file):
		return fmt.Errorf("--file %q: get the file first, or give its URL in place of the context", o.file)
	}
	path := o.file
	if path == "" {
		path = filepath.Join(dir, "Dockerfile")
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			if lower := filepath.Join(dir, "dockerfile"); exists(lower) {
				path = lower
			}
		}
	} else if !exists(path) && !filepath.IsAbs(path) && exists(filepath.Join(dir, path)) {
		path = filepath.Join(dir, path)
	}
	from, err := directory(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	s.LocalMounts["dockerfile"], s.FrontendAttrs["filename"] = from, filepath.Base(path)
	return nil
}

func (f *Front) stdinDockerfile(in io.Reader, s *buildkit.SolveOpt) error {
	text, err := io.ReadAll(io.LimitReader(in, 8<<20))
	if err != nil {
		return fmt.Errorf("Dockerfile on stdin: %w", err)
	}
	file := staticfs.NewFS()
	file.Add("Dockerfile", &types.Stat{Mode: 0o644}, text)
	s.LocalMounts["dockerfile"], s.FrontendAttrs["dockerfilekey"] = file, "dockerfile"
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isRemote(source string) bool {
	if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
		return true
	}
	if exists(source) {
		return false
	}
	_, git, _ := dfgitutil.ParseGitRef(source)
	return git
}

func directory(path string) (fsutil.FS, error) {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("path %q not found", path)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("path %q is not a directory", path)
	}
	if err != nil {
		return nil, err
	}
	return fsutil.NewFS(path)
}
