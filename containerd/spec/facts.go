package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	apparmorprofile "github.com/containerd/containerd/v2/contrib/apparmor"
	"github.com/containerd/containerd/v2/pkg/apparmor"
	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/containerd/containerd/v2/pkg/kernelversion"
	"github.com/containerd/containerd/v2/pkg/seccomp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Facts are what the host's kernel offers and what this process may do.
type Facts struct {
	CgroupV2 bool

	// Which limits the mounted cgroup controllers can apply.
	Memory, Swap, Swappiness, OOMKillDisable bool
	CPU, CPURealtime, Cpuset, Pids           bool
	BlockIO, BlockIOWeight                   bool

	Seccomp, AppArmor     bool
	RecursiveReadOnly     bool // mounts can be read-only with all below (5.12)
	PingGroupRange        bool // net.ipv4.ping_group_range exists
	UnprivilegedPortStart bool // net.ipv4.ip_unprivileged_port_start exists

	Capabilities    []string               // the bounding set
	Rlimits         map[string]unix.Rlimit // by RLIMIT_ name
	OOMScoreAdj     int                    // of this process
	CPUs            int                    // usable by this process
	CpusetCpus      string                 // what containers can be bound to, as cpuset(7) lists it; "" if unknown
	CpusetMems      string
	ThermalThrottle []string // paths to hide: they tell of other containers' work
}

func (f Facts) has(capability string) bool { return slices.Contains(f.Capabilities, capability) }

// Detect reads the facts. Where AppArmor is on it loads AppArmorProfile
// unless that is loaded already.
func Detect() (Facts, error) {
	caps, err := boundingSet()
	if err != nil {
		return Facts{}, err
	}
	f := Facts{
		Seccomp:               seccomp.IsEnabled(),
		AppArmor:              apparmor.HostSupports(),
		PingGroupRange:        exists("/proc/sys/net/ipv4/ping_group_range"),
		UnprivilegedPortStart: exists("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
		Capabilities:          caps,
		Rlimits:               map[string]unix.Rlimit{},
		CPUs:                  runtime.NumCPU(),
	}
	f.RecursiveReadOnly, err = kernelversion.GreaterEqualThan(kernelversion.KernelVersion{Kernel: 5, Major: 12})
	if err != nil {
		return Facts{}, fmt.Errorf("kernel version: %w", err)
	}
	if f.AppArmor {
		if err := apparmorprofile.LoadDefaultProfile(AppArmorProfile); err != nil {
			return Facts{}, fmt.Errorf("AppArmor profile %q: %w", AppArmorProfile, err)
		}
	}
	for name, r := range rlimitNumbers {
		var l unix.Rlimit
		if err := unix.Getrlimit(r, &l); err != nil {
			return Facts{}, fmt.Errorf("read %s: %w", name, err)
		}
		f.Rlimits[name] = l
	}
	if b, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		f.OOMScoreAdj, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	if f.ThermalThrottle, err = filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"); err != nil {
		return Facts{}, err
	}
	return f, f.detectCgroups()
}

var rlimitNumbers = map[string]int{
	"RLIMIT_CORE":       unix.RLIMIT_CORE,
	"RLIMIT_CPU":        unix.RLIMIT_CPU,
	"RLIMIT_DATA":       unix.RLIMIT_DATA,
	"RLIMIT_FSIZE":      unix.RLIMIT_FSIZE,
	"RLIMIT_LOCKS":      unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK":    unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE":   unix.RLIMIT_MSGQUEUE,
	"RLIMIT_NICE":       unix.RLIMIT_NICE,
	"RLIMIT_NOFILE":     unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC":      unix.RLIMIT_NPROC,
	"RLIMIT_RSS":        unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO":     unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME":     unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_STACK":      unix.RLIMIT_STACK,
}

// boundingSet is what a child of this process can at most be granted.
func boundingSet() ([]string, error) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sets, err := cap.ParseProcPIDStatus(f)
	if err != nil {
		return nil, fmt.Errorf("capabilities of this process: %w", err)
	}
	known, _ := cap.FromBitmap(sets[cap.Bounding])
	return known, nil
}

const cgroupRoot = "/sys/fs/cgroup"

func (f *Facts) detectCgroups() error {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil {
		return fmt.Errorf("cgroups at %q: %w", cgroupRoot, err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return f.detectCgroupV2()
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup"))
	if err != nil {
		return fmt.Errorf("cgroup mounts: %w", err)
	}
	at := map[string]string{}
	for _, m := range mounts {
		for _, o := range strings.Split(m.VFSOptions, ",") {
			at[o] = m.Mountpoint
		}
	}
	has := func(controller string, files ...string) bool {
		dir, ok := at[controller]
		return ok && (len(files) == 0 || slices.ContainsFunc(files, func(n string) bool { return exists(filepath.Join(dir, n)) }))
	}
	f.Memory = has("memory")
	f.Swap = has("memory", "memory.memsw.limit_in_bytes")
	f.Swappiness = has("memory", "memory.swappiness")
	f.OOMKillDisable = has("memory", "memory.oom_control")
	f.CPU = has("cpu", "cpu.cfs_quota_us", "cpu.shares")
	f.CPURealtime = has("cpu", "cpu.rt_runtime_us")
	f.Cpuset = has("cpuset")
	f.CpusetCpus, f.CpusetMems = line(at["cpuset"], "cpuset.effective_cpus"), line(at["cpuset"], "cpuset.effective_mems")
	f.Pids = has("pids")
	f.BlockIO = has("blkio")
	// BFQ shows its weight only below the root, but its statistics everywhere.
	f.BlockIOWeight = has("blkio", "blkio.weight", "blkio.bfq.weight", "blkio.bfq.io_service_bytes")
	return nil
}

func (f *Facts) detectCgroupV2() error {
	f.CgroupV2 = true
	b, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup controllers: %w", err)
	}
	controllers := strings.Fields(string(b))
	f.Memory = slices.Contains(controllers, "memory")
	f.CPU = slices.Contains(controllers, "cpu")
	f.Cpuset = slices.Contains(controllers, "cpuset")
	f.CpusetCpus, f.CpusetMems = line(cgroupRoot, "cpuset.cpus.effective"), line(cgroupRoot, "cpuset.mems.effective")
	f.Pids = slices.Contains(controllers, "pids")
	f.BlockIO = slices.Contains(controllers, "io")
	// These files are not in the hierarchy's root: look in the groups below it
	// too. Where the root is that of a namespace it may have them.
	below := func(file string) bool {
		found, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", file))
		return len(found) > 0 || exists(filepath.Join(cgroupRoot, file))
	}
	f.Swap = f.Memory && below("memory.swap.max")
	f.BlockIOWeight = f.BlockIO && (below("io.weight") || below("io.bfq.weight"))
	return nil
}

// line reads a file of one line; "" where it cannot be read.
func line(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
