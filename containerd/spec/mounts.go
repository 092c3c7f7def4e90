package spec

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	defaultShmSize = 64 << 20
	// initTarget is where dockerd shows the init binary, and tools look for it.
	initTarget = "/sbin/docker-init"
)

// mounts lists what the runtime mounts, parents before children. What a user
// mounts takes the place of a default; his /dev takes that of all below it.
func mounts(in Input, sec security) ([]specs.Mount, error) {
	defaults, err := defaultMounts(in, sec)
	if err != nil {
		return nil, err
	}
	user := map[string]bool{}
	for _, m := range in.Mounts {
		if !path.IsAbs(m.Target) {
			return nil, fmt.Errorf("mount target %q is not an absolute path: %w", m.Target, errdefs.ErrInvalidArgument)
		}
		user[path.Clean(m.Target)] = true
	}
	var out []specs.Mount
	for _, m := range defaults {
		if user[m.Destination] || user["/dev"] && strings.HasPrefix(m.Destination, "/dev/") {
			continue
		}
		out = append(out, m)
	}
	given := slices.Clone(in.Mounts)
	if useInit(in.Host) {
		given = append(given, Mount{Type: "bind", Source: in.InitPath, Target: initTarget, Options: []string{"bind", "ro"}})
	}
	slices.SortStableFunc(given, func(a, b Mount) int {
		return depth(path.Clean(a.Target)) - depth(path.Clean(b.Target))
	})
	for _, m := range given {
		out = append(out, specs.Mount{
			Destination: path.Clean(m.Target),
			Type:        m.Type,
			Source:      source(m),
			Options:     options(m, in.Facts),
		})
	}
	return out, nil
}

func depth(p string) int {
	if p == "/" {
		return 0
	}
	return strings.Count(p, "/")
}

func source(m Mount) string {
	if m.Type == "tmpfs" && m.Source == "" {
		return "tmpfs"
	}
	return m.Source
}

var propagations = []string{"private", "rprivate", "shared", "rshared", "slave", "rslave"}

// options completes a bind's options and leaves recursive read-only to kernels
// that have it (5.12).
func options(m Mount, f Facts) []string {
	opts := slices.Clone(m.Options)
	if m.Type != "bind" {
		return opts
	}
	if !slices.Contains(opts, "bind") && !slices.Contains(opts, "rbind") {
		opts = append(opts, "rbind")
	}
	if !slices.ContainsFunc(opts, func(o string) bool { return slices.Contains(propagations, o) }) {
		opts = append(opts, "rprivate")
	}
	if i := slices.Index(opts, "rro"); i >= 0 && !f.RecursiveReadOnly {
		opts[i] = "ro"
	}
	return opts
}

// rootfsPropagation lets mounts pass where a bind asks for it: the root must
// then not be private.
func rootfsPropagation(ms []Mount) string {
	p := ""
	for _, m := range ms {
		for _, o := range m.Options {
			switch o {
			case "shared", "rshared":
				return "shared"
			case "slave", "rslave":
				p = "rslave"
			}
		}
	}
	return p
}

func defaultMounts(in Input, sec security) ([]specs.Mount, error) {
	h := in.Host
	ro := func(opts ...string) []string {
		if h.Privileged {
			return opts
		}
		return append(opts, "ro")
	}
	cgroup := []string{"nosuid", "noexec", "nodev", "relatime"}
	if !sec.writableCgroups {
		cgroup = ro(cgroup...)
	}
	ms := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: ro("nosuid", "noexec", "nodev")},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: cgroup},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	shm, err := shmMount(in)
	if err != nil {
		return nil, err
	}
	return append(ms, shm...), nil
}

// shmMount gives /dev/shm: a tmpfs of its own in private mode, a shared
// directory where IPC is shared, nothing in mode none.
func shmMount(in Input) ([]specs.Mount, error) {
	flags := []string{"nosuid", "noexec", "nodev"}
	shared := in.Shm
	switch mode := in.Host.IpcMode; {
	case mode.IsNone():
		return nil, nil
	case mode.IsHost():
		shared = "/dev/shm"
	case mode.IsShareable(), mode.IsContainer():
		if shared == "" {
			return nil, fmt.Errorf("container %q: no directory for /dev/shm in IPC mode %q: %w", in.ID, mode, errdefs.ErrFailedPrecondition)
		}
	default:
		return []specs.Mount{{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: append(flags, "mode=1777", "size="+strconv.FormatInt(ShmSize(in.Host), 10))}}, nil
	}
	return []specs.Mount{{Destination: "/dev/shm", Type: "bind", Source: shared, Options: append(flags, "rbind", "rprivate")}}, nil
}

// ShmSize is the size of /dev/shm in bytes: 64 MiB unless asked otherwise.
func ShmSize(h container.HostConfig) int64 {
	if h.ShmSize > 0 {
		return h.ShmSize
	}
	return defaultShmSize
}

// useInit tells whether an init process reaps for the container: one that is
// not PID 1 has no use for it.
func useInit(h container.HostConfig) bool {
	return h.Init != nil && *h.Init && h.PidMode.IsPrivate()
}
