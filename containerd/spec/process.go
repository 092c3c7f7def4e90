package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultPath is PATH where neither image nor user sets one. Source: dockerd.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const ttyTerm = "TERM=xterm"

func process(in Input, sec security) (*specs.Process, error) {
	args := slices.Concat(in.Config.Entrypoint, in.Config.Cmd)
	if len(args) == 0 {
		return nil, fmt.Errorf("container %q: no command: neither the image nor the request has one: %w", in.ID, errdefs.ErrInvalidArgument)
	}
	if useInit(in.Host) {
		if in.InitPath == "" {
			return nil, fmt.Errorf("container %q: no init binary on this host: %w", in.ID, errdefs.ErrFailedPrecondition)
		}
		args = append([]string{initTarget, "--"}, args...)
	}
	user, err := lookup(in.Rootfs, in.Config.User, in.Host.GroupAdd)
	if err != nil {
		return nil, err
	}
	user.Umask = in.Host.Umask
	caps, err := capabilities(in.Host, in.Facts)
	if err != nil {
		return nil, err
	}
	p := &specs.Process{
		Terminal:        in.Config.Tty,
		User:            user,
		Args:            args,
		Env:             environment(in.Hostname, in.Config.Tty, in.Config.Env),
		Cwd:             workdir(in.Config.WorkingDir), // runc creates it
		Capabilities:    linuxCapabilities(caps),
		Rlimits:         rlimits(in.Host),
		NoNewPrivileges: sec.noNewPrivileges,
		ApparmorProfile: sec.apparmorProfile(in.Host.Privileged, in.Facts),
		OOMScoreAdj:     OOMScoreAdj(in.Host.OomScoreAdj, in.Facts),
	}
	if size := in.Host.ConsoleSize; in.Config.Tty && size[0] > 0 && size[1] > 0 {
		p.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	return p, nil
}

// environment lays the user's variables over the defaults. HOME is left to the
// runtime, which takes it from the passwd file of the running container.
func environment(hostname string, tty bool, user []string) []string {
	env := []string{"PATH=" + DefaultPath, "HOSTNAME=" + hostname}
	if tty {
		env = append(env, ttyTerm)
	}
	return overlayEnv(env, user)
}

// overlayEnv sets each of vars in env; "NAME" without "=" removes it. Source:
// dockerd, ReplaceOrAppendEnvValues.
func overlayEnv(env, vars []string) []string {
	out := slices.Clone(env)
	for _, v := range vars {
		name, _, set := strings.Cut(v, "=")
		same := func(e string) bool { n, _, _ := strings.Cut(e, "="); return n == name }
		switch i := slices.IndexFunc(out, same); {
		case !set:
			out = slices.DeleteFunc(out, same)
		case i >= 0:
			out[i] = v
		default:
			out = append(out, v)
		}
	}
	return out
}

func workdir(dir string) string {
	if dir == "" {
		return "/"
	}
	return path.Clean(dir)
}

// Process returns the process of an exec in the container of s. Users are
// looked up below rootfs, such as /proc/<pid>/root; groupAdd is the
// container's HostConfig.GroupAdd and matters only when req names a user.
func Process(s *specs.Spec, req container.ExecCreateRequest, rootfs string, groupAdd ...string) (*specs.Process, error) {
	if s.Process == nil {
		return nil, fmt.Errorf("exec: the container's specification has no process: %w", errdefs.ErrFailedPrecondition)
	}
	if len(req.Cmd) == 0 || req.Cmd[0] == "" {
		return nil, fmt.Errorf("exec: no command: %w", errdefs.ErrInvalidArgument)
	}
	if req.WorkingDir != "" && !path.IsAbs(req.WorkingDir) {
		return nil, fmt.Errorf("exec: working directory %q is not an absolute path: %w", req.WorkingDir, errdefs.ErrInvalidArgument)
	}
	p := *s.Process
	p.Args = req.Cmd
	p.Terminal = req.Tty
	p.ConsoleSize = nil
	if size := req.ConsoleSize; req.Tty && size != nil {
		p.ConsoleSize = &specs.Box{Height: size[0], Width: size[1]}
	}
	p.Env = execEnv(s.Process, req)
	if req.WorkingDir != "" {
		p.Cwd = path.Clean(req.WorkingDir)
	}
	if req.User != "" {
		user, err := lookup(rootfs, req.User, groupAdd)
		if err != nil {
			return nil, fmt.Errorf("exec: %w", err)
		}
		user.Umask = s.Process.User.Umask
		p.User = user
	}
	if req.Privileged {
		caps, err := boundingSet()
		if err != nil {
			return nil, fmt.Errorf("exec: %w", err)
		}
		p.Capabilities = linuxCapabilities(caps)
		if p.ApparmorProfile != "" {
			p.ApparmorProfile = unconfined
		}
	}
	return &p, nil
}

// execEnv is the container's environment with the exec's variables; TERM
// follows the exec's terminal, not the container's.
func execEnv(base *specs.Process, req container.ExecCreateRequest) []string {
	env := slices.Clone(base.Env)
	if base.Terminal && !req.Tty {
		env = slices.DeleteFunc(env, func(e string) bool { return e == ttyTerm })
	}
	hasTerm := slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "TERM=") })
	if req.Tty && !hasTerm {
		env = append(env, ttyTerm)
	}
	return overlayEnv(env, req.Env)
}
