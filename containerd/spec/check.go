package spec

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/sys/signal"
)

// Check tells before anything is made whether a container can be had as asked
// for, in Docker's words where it has some: clients know them. Warnings name
// what is left out because the host's kernel cannot do it, as dockerd has them;
// an error is an errdefs.ErrInvalidArgument. Users, devices and profiles are
// looked at by Build.
func Check(cfg container.Config, h container.HostConfig, f Facts) (warnings []string, err error) {
	for _, err := range []error{
		checkConfig(cfg),
		checkSupported(h),
		checkModes(h),
		checkResources(h.Resources, f),
		checkSwapAlone(h.Resources),
		checkUlimits(h, f),
		checkOOMScoreAdj(h, f),
		checkSysctls(h),
		checkAnnotations(h),
		checkDeviceRequests(h),
	} {
		if err != nil {
			return nil, err
		}
	}
	if _, err := capabilities(h, f); err != nil {
		return nil, err
	}
	sec, err := parseSecurity(h)
	if err != nil {
		return nil, err
	}
	if sec.writableCgroups && !(f.CgroupV2 && privateCgroupns(h, f)) {
		return nil, invalid("security option writable-cgroups needs cgroup v2 and a private cgroup namespace")
	}
	warnings = append(leftOut(h.Resources, f), sec.leftOut(f)...)
	if h.NetworkMode.IsHost() && len(h.PortBindings) > 0 {
		warnings = append(warnings, "Published ports are discarded when using host network mode")
	}
	return warnings, nil
}

// CheckUpdate is Check for limits that a container is to get later, alone.
func CheckUpdate(r container.Resources, f Facts) (warnings []string, err error) {
	if err := checkResources(r, f); err != nil {
		return nil, err
	}
	return leftOut(r, f), nil
}

// invalid is an error of the class that the API answers as a bad request.
func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}

func checkConfig(cfg container.Config) error {
	if wd := cfg.WorkingDir; wd != "" && !path.IsAbs(wd) {
		return invalid("the working directory '%s' is invalid, it needs to be an absolute path", wd)
	}
	if cfg.StopSignal != "" {
		if _, err := signal.ParseSignal(cfg.StopSignal); err != nil {
			return invalid("%v", err)
		}
	}
	for _, v := range cfg.Env {
		if v == "" || strings.HasPrefix(v, "=") {
			return invalid("invalid environment variable: %s", v)
		}
	}
	return nil
}

// checkSupported refuses what is not honoured rather than leaving it out.
func checkSupported(h container.HostConfig) error {
	switch {
	case !slices.Contains([]string{"", "runc", "io.containerd.runc.v2"}, h.Runtime):
		return invalid("unknown or invalid runtime name: %s; there are runc and io.containerd.runc.v2", h.Runtime)
	case len(h.StorageOpt) > 0:
		return invalid("--storage-opt is not supported by the overlayfs snapshotter: %s", strings.Join(slices.Sorted(maps.Keys(h.StorageOpt)), ", "))
	case !h.Isolation.IsDefault():
		return invalid("invalid isolation '%s' on linux", h.Isolation)
	case h.Cgroup != "":
		return invalid("cgroup %q: joining another container's cgroup is not supported", h.Cgroup)
	case h.ShmSize < 0:
		return invalid("SHM size can not be less than 0")
	case h.Umask != nil && *h.Umask > 0o777:
		return invalid("umask %#o must not be above 0777", *h.Umask)
	case h.IOMaximumBandwidth != 0 || h.IOMaximumIOps != 0:
		return invalid("invalid QoS settings: linux does not support --io-maxbandwidth and --io-maxiops")
	case h.CPUCount != 0:
		return invalid("--cpu-count is for Windows only: use --cpus")
	}
	return nil
}

func checkModes(h container.HostConfig) error {
	for _, m := range []struct {
		name, value string
		valid       bool
	}{
		{"PID", string(h.PidMode), h.PidMode.Valid()},
		{"IPC", string(h.IpcMode), h.IpcMode.Valid()},
		{"UTS", string(h.UTSMode), h.UTSMode.Valid()},
		{"user namespace", string(h.UsernsMode), h.UsernsMode.Valid()},
		{"cgroup namespace", string(h.CgroupnsMode), h.CgroupnsMode.Valid()},
	} {
		if !m.valid {
			return invalid("invalid %s mode: %s", m.name, m.value)
		}
	}
	return nil
}

func checkAnnotations(h container.HostConfig) error {
	if _, ok := h.Annotations[""]; ok {
		return invalid("invalid Annotations: the empty string is not permitted as an annotation key")
	}
	return nil
}
