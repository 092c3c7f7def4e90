package spec

import (
	"fmt"
	"path"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
)

// minMemory is the least in which runc can start a container. Source: dockerd.
const minMemory = 6 << 20

// Check tells before anything is made whether a container can be had as asked
// for. Warnings name limits that the host's kernel cannot apply and that are
// therefore left out, as dockerd does; an error is an
// errdefs.ErrInvalidArgument. Users, devices and profiles are looked at by
// Build.
func Check(cfg container.Config, h container.HostConfig, f Facts) (warnings []string, err error) {
	checks := []error{
		checkSupported(h),
		checkModes(h),
		checkMemory(h),
		checkCPU(h, f),
		checkBlockIO(h),
		checkUlimits(h, f),
		checkOOMScoreAdj(h, f),
		checkSysctls(h),
	}
	if wd := cfg.WorkingDir; wd != "" && !path.IsAbs(wd) {
		checks = append(checks, fmt.Errorf("working directory %q is not an absolute path: %w", wd, errdefs.ErrInvalidArgument))
	}
	if _, err := capabilities(h, f); err != nil {
		checks = append(checks, err)
	}
	if _, err := parseSecurity(h); err != nil {
		checks = append(checks, err)
	}
	for _, err := range checks {
		if err != nil {
			return nil, err
		}
	}
	return leftOut(h, f), nil
}

// checkSupported refuses what is not honoured rather than leaving it out.
func checkSupported(h container.HostConfig) error {
	refuse := func(what, why string) error {
		return fmt.Errorf("%s: %s: %w", what, why, errdefs.ErrInvalidArgument)
	}
	switch {
	case !slices.Contains([]string{"", "runc", "io.containerd.runc.v2"}, h.Runtime):
		return refuse(fmt.Sprintf("runtime %q", h.Runtime), `only "runc" is supported`)
	case len(h.DeviceRequests) > 0:
		return refuse("device requests (GPUs, CDI)", "not supported yet; give the device nodes in devices")
	case len(h.StorageOpt) > 0:
		return refuse("storage options", "not supported by the overlayfs snapshotter")
	case !h.Isolation.IsDefault():
		return refuse(fmt.Sprintf("isolation %q", h.Isolation), "for Windows only")
	case h.Cgroup != "":
		return refuse(fmt.Sprintf("cgroup %q", h.Cgroup), "joining another container's cgroup is not supported")
	case h.ShmSize < 0:
		return refuse(fmt.Sprintf("shm_size %d", h.ShmSize), "must not be negative")
	case h.Umask != nil && *h.Umask > 0o777:
		return refuse(fmt.Sprintf("umask %#o", *h.Umask), "must not be above 0777")
	}
	return nil
}

func checkModes(h container.HostConfig) error {
	modes := []struct {
		name, value string
		valid       bool
	}{
		{"pid mode", string(h.PidMode), h.PidMode.Valid()},
		{"ipc mode", string(h.IpcMode), h.IpcMode.Valid()},
		{"uts mode", string(h.UTSMode), h.UTSMode.Valid()},
		{"userns mode", string(h.UsernsMode), h.UsernsMode.Valid()},
		{"cgroup namespace mode", string(h.CgroupnsMode), h.CgroupnsMode.Valid()},
	}
	for _, m := range modes {
		if !m.valid {
			return fmt.Errorf("%s %q is not supported: %w", m.name, m.value, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

func checkMemory(h container.HostConfig) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	switch {
	case h.Memory < 0, h.MemoryReservation < 0:
		return fail("memory limit %d and reservation %d must not be negative", h.Memory, h.MemoryReservation)
	case h.Memory > 0 && h.Memory < minMemory:
		return fail("memory limit %d is below the least of 6 MiB", h.Memory)
	case h.MemoryReservation > 0 && h.MemoryReservation < minMemory:
		return fail("memory reservation %d is below the least of 6 MiB", h.MemoryReservation)
	case h.Memory > 0 && h.MemoryReservation > h.Memory:
		return fail("memory reservation %d is above the memory limit %d", h.MemoryReservation, h.Memory)
	case h.MemorySwap < -1:
		return fail("memory+swap limit %d is neither positive, 0 nor -1 (unlimited)", h.MemorySwap)
	case h.MemorySwap > 0 && h.Memory == 0:
		return fail("memory+swap limit %d needs a memory limit beside it", h.MemorySwap)
	case h.MemorySwap > 0 && h.MemorySwap < h.Memory:
		return fail("memory+swap limit %d is below the memory limit %d", h.MemorySwap, h.Memory)
	case h.MemorySwappiness != nil && (*h.MemorySwappiness < -1 || *h.MemorySwappiness > 100):
		return fail("memory swappiness %d is not between 0 and 100", *h.MemorySwappiness)
	}
	return nil
}

func checkCPU(h container.HostConfig, f Facts) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	switch {
	case h.NanoCPUs > 0 && (h.CPUPeriod > 0 || h.CPUQuota != 0):
		return fail("cpus cannot be combined with a CPU period or quota")
	case h.NanoCPUs < 0 || h.NanoCPUs > 0 && h.NanoCPUs < 1e7 || f.CPUs > 0 && h.NanoCPUs > int64(f.CPUs)*1e9:
		return fail("cpus %.2f is not between 0.01 and the %d that the host has", float64(h.NanoCPUs)/1e9, f.CPUs)
	case h.CPUShares < 0:
		return fail("CPU shares %d must not be negative", h.CPUShares)
	case h.CPUPeriod != 0 && (h.CPUPeriod < 1000 || h.CPUPeriod > 1_000_000):
		return fail("CPU period %d µs is not between 1 ms and 1 s", h.CPUPeriod)
	case h.CPUQuota > 0 && h.CPUQuota < 1000:
		return fail("CPU quota %d µs is below the least of 1 ms", h.CPUQuota)
	case h.CPURealtimePeriod != 0 && h.CPURealtimeRuntime > h.CPURealtimePeriod:
		return fail("CPU real-time runtime %d is above its period %d", h.CPURealtimeRuntime, h.CPURealtimePeriod)
	}
	return nil
}

func checkBlockIO(h container.HostConfig) error {
	if w := h.BlkioWeight; w != 0 && (w < 10 || w > 1000) {
		return fmt.Errorf("block IO weight %d is not between 10 and 1000: %w", w, errdefs.ErrInvalidArgument)
	}
	var paths []string
	for _, d := range h.BlkioWeightDevice {
		if d == nil {
			return fmt.Errorf("a block IO weight device is null: %w", errdefs.ErrInvalidArgument)
		}
		if d.Weight != 0 && (d.Weight < 10 || d.Weight > 1000) {
			return fmt.Errorf("block IO weight %d of %q is not between 10 and 1000: %w", d.Weight, d.Path, errdefs.ErrInvalidArgument)
		}
		paths = append(paths, d.Path)
	}
	for _, d := range slices.Concat(h.BlkioDeviceReadBps, h.BlkioDeviceWriteBps, h.BlkioDeviceReadIOps, h.BlkioDeviceWriteIOps) {
		if d == nil {
			return fmt.Errorf("a block IO limit is null: %w", errdefs.ErrInvalidArgument)
		}
		paths = append(paths, d.Path)
	}
	for _, p := range paths {
		if _, _, err := blockDevice(p); err != nil {
			return fmt.Errorf("block IO device %q: %v: %w", p, err, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// leftOut names what Resources does not apply for want of kernel support.
func leftOut(h container.HostConfig, f Facts) []string {
	var out []string
	note := func(asked, can bool, what string) {
		if asked && !can {
			out = append(out, "The kernel or its cgroups do not support "+what+": left out.")
		}
	}
	note(h.Memory > 0 || h.MemoryReservation > 0, f.Memory, "memory limits")
	note(h.MemorySwap != 0, f.Swap, "swap limits")
	note(h.MemorySwappiness != nil && *h.MemorySwappiness >= 0, f.Swappiness, "memory swappiness per container")
	note(h.OomKillDisable != nil && *h.OomKillDisable, f.OOMKillDisable, "disabling the OOM killer")
	note(h.CPUShares > 0 || h.NanoCPUs > 0 || h.CPUPeriod > 0 || h.CPUQuota != 0, f.CPU, "CPU limits")
	note(h.CPURealtimePeriod > 0 || h.CPURealtimeRuntime != 0, f.CPURealtime, "real-time CPU limits")
	note(h.CpusetCpus != "" || h.CpusetMems != "", f.Cpuset, "CPU sets")
	note(h.PidsLimit != nil && *h.PidsLimit > 0, f.Pids, "PID limits")
	throttles := [][]*blkiodev.ThrottleDevice{h.BlkioDeviceReadBps, h.BlkioDeviceWriteBps, h.BlkioDeviceReadIOps, h.BlkioDeviceWriteIOps}
	note(slices.ContainsFunc(throttles, func(t []*blkiodev.ThrottleDevice) bool { return len(t) > 0 }), f.BlockIO, "block IO limits")
	note(h.BlkioWeight > 0 || len(h.BlkioWeightDevice) > 0, f.BlockIO && f.BlockIOWeight, "block IO weights")
	return out
}
