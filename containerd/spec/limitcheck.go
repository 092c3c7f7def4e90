package spec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// minMemory is the least in which runc can start a container. Source: dockerd.
const minMemory = 6 << 20

// checkResources refuses limits that cannot be, at creation and at an update.
func checkResources(r container.Resources, f Facts) error {
	for _, err := range []error{checkMemory(r), checkCPU(r, f), checkCpuset(r, f), checkBlockIO(r)} {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkMemory(r container.Resources) error {
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return invalid("Minimum memory limit allowed is 6MB")
	case r.MemorySwap < -1:
		return invalid("memory+swap limit %d is neither positive, 0 nor -1 (unlimited)", r.MemorySwap)
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.MemorySwappiness != nil && (*r.MemorySwappiness < -1 || *r.MemorySwappiness > 100):
		return invalid("Invalid value: %d, valid memory swappiness range is 0-100", *r.MemorySwappiness)
	case r.MemoryReservation != 0 && r.MemoryReservation < minMemory:
		return invalid("Minimum memory reservation allowed is 6MB")
	case r.Memory > 0 && r.Memory < r.MemoryReservation:
		return invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	}
	return nil
}

// checkSwapAlone is not for updates: the memory limit may be there already.
func checkSwapAlone(r container.Resources) error {
	if r.MemorySwap > 0 && r.Memory == 0 {
		return invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	}
	return nil
}

func checkCPU(r container.Resources, f Facts) error {
	switch {
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case r.NanoCPUs > 0 && r.CPUQuota != 0:
		return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case r.NanoCPUs > 0 && !f.CPU:
		return invalid("NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted")
	case r.NanoCPUs < 0 || r.NanoCPUs > 0 && r.NanoCPUs < 1e7 || f.CPUs > 0 && r.NanoCPUs > int64(f.CPUs)*1e9:
		return invalid("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", f.CPUs, f.CPUs)
	case r.CPUShares < 0:
		return invalid("invalid CPU shares (%d): value must be a positive integer", r.CPUShares)
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1_000_000):
		return invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case (r.CPURealtimePeriod > 0 || r.CPURealtimeRuntime > 0) && !f.CPURealtime:
		return invalid("kernel does not support CPU real-time scheduler")
	case r.CPURealtimePeriod != 0 && r.CPURealtimeRuntime > r.CPURealtimePeriod:
		return invalid("cpu real-time runtime cannot be higher than cpu real-time period")
	}
	return nil
}

// checkCpuset wants the CPUs and memory nodes asked for to be there.
func checkCpuset(r container.Resources, f Facts) error {
	if !f.Cpuset {
		return nil
	}
	for _, s := range []struct{ what, long, asked, there string }{
		{"cpus", "CPUs", r.CpusetCpus, f.CpusetCpus},
		{"mems", "memory nodes", r.CpusetMems, f.CpusetMems},
	} {
		asked, ok := parseSet(s.asked)
		if !ok {
			return invalid("Invalid value %s for cpuset %s", s.asked, s.what)
		}
		there, ok := parseSet(s.there)
		if !ok || len(there) == 0 {
			continue // the kernel will tell
		}
		for _, a := range asked {
			if !slices.ContainsFunc(there, func(t span) bool { return t.from <= a.from && a.to <= t.to }) {
				return invalid("Requested %s are not available - requested %s, available: %s", s.long, s.asked, s.there)
			}
		}
	}
	return nil
}

// span is a range of CPUs or memory nodes, both ends included.
type span struct{ from, to int }

// parseSet reads a list such as "0-3,7". Source: cpuset(7). Neighbours are not
// joined: the kernel writes its own lists joined, and a list asked for need not
// be.
func parseSet(s string) ([]span, bool) {
	var out []span
	if s = strings.TrimSpace(s); s == "" {
		return nil, true
	}
	for part := range strings.SplitSeq(s, ",") {
		a, b, ranged := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.ParseUint(a, 10, 16)
		if err != nil {
			return nil, false
		}
		to := from
		if ranged {
			if to, err = strconv.ParseUint(b, 10, 16); err != nil || to < from {
				return nil, false
			}
		}
		out = append(out, span{int(from), int(to)})
	}
	return out, true
}

func checkBlockIO(r container.Resources) error {
	if w := r.BlkioWeight; w != 0 && (w < 10 || w > 1000) {
		return invalid("Range of blkio weight is from 10 to 1000")
	}
	var paths []string
	for _, d := range r.BlkioWeightDevice {
		if d == nil {
			return invalid("a block IO weight device is null")
		}
		if d.Weight != 0 && (d.Weight < 10 || d.Weight > 1000) {
			return invalid("block IO weight %d of %q is not between 10 and 1000", d.Weight, d.Path)
		}
		paths = append(paths, d.Path)
	}
	for _, d := range slices.Concat(r.BlkioDeviceReadBps, r.BlkioDeviceWriteBps, r.BlkioDeviceReadIOps, r.BlkioDeviceWriteIOps) {
		if d == nil {
			return invalid("a block IO limit is null")
		}
		paths = append(paths, d.Path)
	}
	for _, p := range paths {
		if _, _, err := blockDevice(p); err != nil {
			return invalid("block IO device %q: %v", p, err)
		}
	}
	return nil
}

// leftOut names what Resources does not apply for want of kernel support.
func leftOut(r container.Resources, f Facts) []string {
	var out []string
	note := func(asked, can bool, text string) {
		if asked && !can {
			out = append(out, text)
		}
	}
	lacks := func(asked, can bool, what, discarded string) {
		note(asked, can, "Your kernel does not support "+what+" or the cgroup is not mounted. "+discarded+" discarded.")
	}
	lacks(r.Memory > 0, f.Memory, "memory limit capabilities", "Limitation")
	note(r.Memory > 0 && r.MemorySwap != -1 && f.Memory, f.Swap, "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.")
	lacks(r.MemorySwappiness != nil && *r.MemorySwappiness >= 0, f.Swappiness, "memory swappiness capabilities", "Memory swappiness")
	lacks(r.MemoryReservation > 0, f.Memory, "memory soft limit capabilities", "Limitation")
	killless := r.OomKillDisable != nil && *r.OomKillDisable
	note(killless, f.OOMKillDisable, "Your kernel does not support OomKillDisable. OomKillDisable discarded.")
	note(killless && f.OOMKillDisable, r.Memory > 0, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	lacks(r.PidsLimit != nil && *r.PidsLimit > 0, f.Pids, "PIDs limit capabilities", "PIDs limit")
	lacks(r.CPUShares > 0, f.CPU, "CPU shares", "Shares")
	note(r.CPUPeriod != 0 || r.CPUQuota != 0, f.CPU, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
	note(r.CPUPercent > 0, false, "linux does not support CPU percent. Percent discarded.")
	lacks(r.CpusetCpus != "" || r.CpusetMems != "", f.Cpuset, "cpuset", "Cpuset")
	lacks(r.BlkioWeight > 0, f.BlockIO && f.BlockIOWeight, "Block I/O weight", "Weight")
	lacks(len(r.BlkioWeightDevice) > 0, f.BlockIO && f.BlockIOWeight, "Block I/O weight_device", "Weight-device")
	lacks(len(r.BlkioDeviceReadBps) > 0, f.BlockIO, "BPS Block I/O read limit", "Block I/O BPS read limit")
	lacks(len(r.BlkioDeviceWriteBps) > 0, f.BlockIO, "BPS Block I/O write limit", "Block I/O BPS write limit")
	lacks(len(r.BlkioDeviceReadIOps) > 0, f.BlockIO, "IOPS Block read limit", "Block I/O IOPS read limit")
	lacks(len(r.BlkioDeviceWriteIOps) > 0, f.BlockIO, "IOPS Block write limit", "Block I/O IOPS write limit")
	return out
}
