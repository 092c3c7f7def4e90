// Package spec turns a container in the Engine API's terms into an OCI runtime
// specification, with the defaults and rules of dockerd.
package spec

import (
	"fmt"
	"maps"
	"path"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// version is the newest one that every runc since 1.0 and crun accept; nothing
// here needs a later one.
const version = "1.0.2"

// Input is all that a runtime specification is made of.
type Input struct {
	ID     string
	Config container.Config // merged with the image's, see Merge
	Host   container.HostConfig

	// Rootfs is the container's mounted root, read for users and groups. The
	// specification itself names "rootfs" in the bundle.
	Rootfs string

	// Netns is the path of the network namespace to join. It is empty in mode
	// host, and may be in mode none, which then gets a namespace of its own.
	Netns string
	// PidNS and IpcNS are the namespaces to join in the modes container:X.
	PidNS, IpcNS string
	// Shm is the host's directory to show as /dev/shm in the IPC modes
	// shareable and container:X; the other modes need none.
	Shm string

	Mounts []Mount // volumes, binds, tmpfs and files such as /etc/hosts

	Hostname, Domainname string

	// CgroupsPath is where the container's cgroup is, such as
	// "/gantry-main/<id>". Host.CgroupParent takes its place when set.
	CgroupsPath string
	InitPath    string // the init binary on the host, needed when Host.Init is true

	CDIDirs []string // where CDI specifications are, for Host.DeviceRequests

	Facts Facts
}

// Mount is something to be mounted over the image's files. Options are those
// of mount(8); a bind is recursive and private unless they say otherwise.
type Mount struct {
	Type    string // bind or tmpfs
	Source  string // on the host, empty for tmpfs
	Target  string // absolute
	Options []string
}

// Build returns the specification of in. Besides in it reads /etc/passwd and
// /etc/group below in.Rootfs, the devices asked for and their CDI
// specifications, and a seccomp profile that is given as a path. What cannot be honoured is an
// errdefs.ErrInvalidArgument.
func Build(in Input) (*specs.Spec, error) {
	if _, err := Check(in.Config, in.Host, in.Facts); err != nil {
		return nil, err
	}
	sec, err := parseSecurity(in.Host)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version:     version,
		Root:        &specs.Root{Path: "rootfs", Readonly: in.Host.ReadonlyRootfs},
		Annotations: maps.Clone(in.Host.Annotations),
		Linux: &specs.Linux{
			CgroupsPath:   cgroupsPath(in),
			Resources:     Resources(in.Host, in.Facts),
			MaskedPaths:   sec.maskedPaths(in.Host, in.Facts),
			ReadonlyPaths: sec.readonlyPaths(in.Host),
		},
	}
	if s.Linux.Namespaces, err = namespaces(in); err != nil {
		return nil, err
	}
	if !in.Host.UTSMode.IsHost() {
		s.Hostname = in.Hostname
	}
	if s.Mounts, err = mounts(in, sec); err != nil {
		return nil, err
	}
	s.Linux.RootfsPropagation = rootfsPropagation(in.Mounts)
	s.Linux.Sysctl = sysctls(in)
	if s.Process, err = process(in, sec); err != nil {
		return nil, err
	}
	if err := addDevices(s, in.Host); err != nil {
		return nil, err
	}
	if err := injectDevices(s, in.Host, in.CDIDirs); err != nil {
		return nil, err
	}
	if s.Linux.Seccomp, err = sec.seccompProfile(s, in.Host.Privileged, in.Facts); err != nil {
		return nil, err
	}
	return s, nil
}

func cgroupsPath(in Input) string {
	if p := in.Host.CgroupParent; p != "" {
		return path.Join("/", p, in.ID) // Join resolves "..": the path stays below the cgroup root
	}
	return path.Join("/", in.CgroupsPath)
}

func namespaces(in Input) ([]specs.LinuxNamespace, error) {
	ns := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	add := func(t specs.LinuxNamespaceType, path string) {
		ns = append(ns, specs.LinuxNamespace{Type: t, Path: path})
	}
	missing := func(what, mode string) error {
		return fmt.Errorf("container %q: no %s to join for mode %q: %w", in.ID, what, mode, errdefs.ErrFailedPrecondition)
	}
	h := in.Host

	switch {
	case h.NetworkMode.IsHost():
	case in.Netns != "" || h.NetworkMode.IsNone():
		add(specs.NetworkNamespace, in.Netns)
	default:
		return nil, missing("network namespace", string(h.NetworkMode))
	}
	switch {
	case h.PidMode.IsHost():
	case h.PidMode.IsContainer() && in.PidNS == "":
		return nil, missing("PID namespace", string(h.PidMode))
	case h.PidMode.IsContainer():
		add(specs.PIDNamespace, in.PidNS)
	default:
		add(specs.PIDNamespace, "")
	}
	switch {
	case h.IpcMode.IsHost():
	case h.IpcMode.IsContainer() && in.IpcNS == "":
		return nil, missing("IPC namespace", string(h.IpcMode))
	case h.IpcMode.IsContainer():
		add(specs.IPCNamespace, in.IpcNS)
	default:
		add(specs.IPCNamespace, "")
	}
	if !h.UTSMode.IsHost() {
		add(specs.UTSNamespace, "")
	}
	if privateCgroupns(h, in.Facts) {
		add(specs.CgroupNamespace, "")
	}
	return ns, nil
}

// privateCgroupns follows dockerd: with cgroup v2 the namespace is private
// unless asked otherwise, with v1 it is the host's.
func privateCgroupns(h container.HostConfig, f Facts) bool {
	if h.CgroupnsMode.IsEmpty() {
		return f.CgroupV2
	}
	return h.CgroupnsMode.IsPrivate()
}
