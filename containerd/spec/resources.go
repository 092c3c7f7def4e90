package spec

import (
	"path/filepath"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const cpuPeriod = 100_000 // µs, the kernel's default

// Resources are the cgroup limits of h, without device rules. What the host's
// kernel cannot limit is left out; Check says so. The result serves for a
// later update too: nil fields leave a limit as it is.
func Resources(h container.HostConfig, f Facts) *specs.LinuxResources {
	return &specs.LinuxResources{
		Memory:  memory(h, f),
		CPU:     cpu(h, f),
		Pids:    pids(h, f),
		BlockIO: blockIO(h, f),
	}
}

func memory(h container.HostConfig, f Facts) *specs.LinuxMemory {
	if !f.Memory {
		return nil
	}
	var m specs.LinuxMemory
	if h.Memory > 0 {
		m.Limit = &h.Memory
	}
	if h.MemoryReservation > 0 {
		m.Reservation = &h.MemoryReservation
	}
	if f.Swap {
		switch {
		case h.MemorySwap != 0:
			m.Swap = &h.MemorySwap
		case h.Memory > 0: // as much swap as memory
			total := 2 * h.Memory
			m.Swap = &total
		}
	}
	if f.Swappiness && h.MemorySwappiness != nil && *h.MemorySwappiness >= 0 {
		v := uint64(*h.MemorySwappiness)
		m.Swappiness = &v
	}
	if f.OOMKillDisable && h.OomKillDisable != nil && *h.OomKillDisable {
		m.DisableOOMKiller = h.OomKillDisable
	}
	if m == (specs.LinuxMemory{}) {
		return nil
	}
	return &m
}

func cpu(h container.HostConfig, f Facts) *specs.LinuxCPU {
	var c specs.LinuxCPU
	if f.CPU {
		if h.CPUShares > 0 {
			v := uint64(h.CPUShares)
			c.Shares = &v
		}
		if h.NanoCPUs > 0 {
			period := uint64(cpuPeriod)
			quota := h.NanoCPUs / (1e9 / cpuPeriod)
			c.Period, c.Quota = &period, &quota
		}
		if h.CPUPeriod > 0 {
			v := uint64(h.CPUPeriod)
			c.Period = &v
		}
		if h.CPUQuota != 0 {
			c.Quota = &h.CPUQuota
		}
	}
	if f.CPURealtime {
		if h.CPURealtimePeriod > 0 {
			v := uint64(h.CPURealtimePeriod)
			c.RealtimePeriod = &v
		}
		if h.CPURealtimeRuntime != 0 {
			c.RealtimeRuntime = &h.CPURealtimeRuntime
		}
	}
	if f.Cpuset {
		c.Cpus, c.Mems = h.CpusetCpus, h.CpusetMems
	}
	if c == (specs.LinuxCPU{}) {
		return nil
	}
	return &c
}

// pids is nil to leave the limit as it is; 0 and -1 lift it.
func pids(h container.HostConfig, f Facts) *specs.LinuxPids {
	if !f.Pids || h.PidsLimit == nil {
		return nil
	}
	v := *h.PidsLimit
	if v <= 0 {
		v = -1
	}
	return &specs.LinuxPids{Limit: &v}
}

func blockIO(h container.HostConfig, f Facts) *specs.LinuxBlockIO {
	if !f.BlockIO {
		return nil
	}
	var b specs.LinuxBlockIO
	if f.BlockIOWeight {
		if h.BlkioWeight > 0 {
			b.Weight = &h.BlkioWeight
		}
		for _, d := range h.BlkioWeightDevice {
			major, minor, err := blockDevice(d.Path)
			if err != nil {
				continue // Check has refused it
			}
			w := specs.LinuxWeightDevice{Weight: &d.Weight}
			w.Major, w.Minor = major, minor
			b.WeightDevice = append(b.WeightDevice, w)
		}
	}
	b.ThrottleReadBpsDevice = throttle(h.BlkioDeviceReadBps)
	b.ThrottleWriteBpsDevice = throttle(h.BlkioDeviceWriteBps)
	b.ThrottleReadIOPSDevice = throttle(h.BlkioDeviceReadIOps)
	b.ThrottleWriteIOPSDevice = throttle(h.BlkioDeviceWriteIOps)
	if b.Weight == nil && len(b.WeightDevice)+len(b.ThrottleReadBpsDevice)+len(b.ThrottleWriteBpsDevice)+
		len(b.ThrottleReadIOPSDevice)+len(b.ThrottleWriteIOPSDevice) == 0 {
		return nil
	}
	return &b
}

func throttle(devices []*blkiodev.ThrottleDevice) []specs.LinuxThrottleDevice {
	var out []specs.LinuxThrottleDevice
	for _, d := range devices {
		major, minor, err := blockDevice(d.Path)
		if err != nil {
			continue // Check has refused it
		}
		t := specs.LinuxThrottleDevice{Rate: d.Rate}
		t.Major, t.Minor = major, minor
		out = append(out, t)
	}
	return out
}

// blockDevice returns the numbers of the block device at path.
func blockDevice(path string) (major, minor int64, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return 0, 0, err
	}
	var st unix.Stat_t
	if err := unix.Stat(real, &st); err != nil {
		return 0, 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, unix.ENOTBLK
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), nil
}
