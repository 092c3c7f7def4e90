package spec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func throttleOf(path string) []*blkiodev.ThrottleDevice {
	return []*blkiodev.ThrottleDevice{{Path: path, Rate: 1 << 20}}
}

func TestResources(t *testing.T) {
	all := testFacts()
	all.Swappiness, all.OOMKillDisable, all.CPURealtime = true, true, true
	for name, c := range map[string]struct {
		ask   container.Resources
		facts Facts
		want  specs.LinuxResources
	}{
		"nothing": {container.Resources{}, all, specs.LinuxResources{}},
		"swap defaults to twice the memory": {container.Resources{Memory: 100 << 20}, all,
			specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(100 << 20)), Swap: ptr(int64(200 << 20))}}},
		"swap without limit": {container.Resources{Memory: 100 << 20, MemorySwap: -1}, all,
			specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(100 << 20)), Swap: ptr(int64(-1))}}},
		"no swap accounting": {container.Resources{Memory: 100 << 20, MemorySwap: 200 << 20}, Facts{Memory: true},
			specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(100 << 20))}}},
		"the rest of memory": {container.Resources{MemoryReservation: 50 << 20, MemorySwappiness: ptr(int64(0)), OomKillDisable: ptr(true)}, all,
			specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr(int64(50 << 20)), Swappiness: ptr(uint64(0)), DisableOOMKiller: ptr(true)}}},
		"cpus": {container.Resources{NanoCPUs: 250_000_000}, all,
			specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(25_000)), Period: ptr(uint64(100_000))}}},
		"the least of cpus": {container.Resources{NanoCPUs: 10_000_000}, all,
			specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(1000)), Period: ptr(uint64(100_000))}}},
		"the rest of cpu": {container.Resources{CPUShares: 2, CPUPeriod: 5000, CPUQuota: 2500, CpusetCpus: "1", CpusetMems: "0", CPURealtimePeriod: 100, CPURealtimeRuntime: 50}, all,
			specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2)), Period: ptr(uint64(5000)), Quota: ptr(int64(2500)), Cpus: "1", Mems: "0", RealtimePeriod: ptr(uint64(100)), RealtimeRuntime: ptr(int64(50))}}},
		"pids lifted":  {container.Resources{PidsLimit: ptr(int64(0))}, all, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}},
		"pids":         {container.Resources{PidsLimit: ptr(int64(9))}, all, specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}},
		"block weight": {container.Resources{BlkioWeight: 500}, all, specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(500))}}},
		"nothing can be limited": {container.Resources{Memory: 100 << 20, NanoCPUs: 1e9, PidsLimit: ptr(int64(5)), BlkioWeight: 500, CpusetCpus: "0"}, Facts{CPUs: 4},
			specs.LinuxResources{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := container.HostConfig{Resources: c.ask}
			if diff := cmp.Diff(c.want, *Resources(h, c.facts)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCheckWarnsOfWhatIsLeftOut(t *testing.T) {
	h := container.HostConfig{Resources: container.Resources{Memory: 100 << 20, MemorySwap: 200 << 20, PidsLimit: ptr(int64(5)), OomKillDisable: ptr(true), NanoCPUs: 1e9}}
	f := testFacts()
	f.Swap, f.Pids = false, false
	got, err := Check(container.Config{}, h, f)
	must(t, err)
	text := strings.Join(got, "\n")
	if len(got) != 3 || !strings.Contains(text, "swap limit") || !strings.Contains(text, "PIDs limit discarded") || !strings.Contains(text, "OomKillDisable discarded") {
		t.Errorf("got warnings %q, want of swap, PIDs and the OOM killer", got)
	}
}

func TestOOMScoreAdjNeedsTheRight(t *testing.T) {
	f := testFacts()
	f.OOMScoreAdj = 100
	h := container.HostConfig{}
	if got := OOMScoreAdj(h.OomScoreAdj, f); got == nil || *got != 0 {
		t.Errorf("with CAP_SYS_RESOURCE: got %v, want 0", got)
	}
	f.Capabilities = defaultCapabilities
	if got := OOMScoreAdj(h.OomScoreAdj, f); got != nil {
		t.Errorf("without: got %d, want the daemon's to be inherited", *got)
	}
	h.OomScoreAdj = 50
	if err := checkOOMScoreAdj(h, f); err == nil {
		t.Error("a value that cannot be had is accepted")
	}
	h.OomScoreAdj = 150
	if err := checkOOMScoreAdj(h, f); err != nil {
		t.Error(err)
	}
}

func TestCompleteWritesDownWhatDockerGives(t *testing.T) {
	v2, v1 := testFacts(), testFacts()
	v1.CgroupV2, v1.OOMKillDisable, v1.Swappiness = false, true, true
	ask := container.HostConfig{Resources: container.Resources{Memory: 10 << 20, MemorySwappiness: ptr(int64(-1)), PidsLimit: ptr(int64(0)), OomKillDisable: ptr(false)}}
	for name, c := range map[string]struct {
		facts    Facts
		cgroupns container.CgroupnsMode
		oom      *bool
	}{"cgroup v1": {v1, "host", ptr(false)}, "cgroup v2": {v2, "private", nil}} {
		got := ask
		Complete(&got, c.facts)
		want := ask
		want.Runtime, want.IpcMode, want.CgroupnsMode, want.ShmSize = "runc", "private", c.cgroupns, 64<<20
		want.MemorySwap, want.MemorySwappiness, want.PidsLimit, want.OomKillDisable = 20<<20, nil, nil, c.oom
		want.MaskedPaths, want.ReadonlyPaths = got.MaskedPaths, got.ReadonlyPaths
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(got.MaskedPaths) == 0 || len(got.ReadonlyPaths) == 0 {
			t.Errorf("%s: hidden paths %q and %q", name, got.MaskedPaths, got.ReadonlyPaths)
		}
		// it says nothing new
		a, b := testInput(t), testInput(t)
		a.Facts, a.Host = c.facts, ask
		b.Facts, b.Host, b.Rootfs = c.facts, got, a.Rootfs
		a.Host.NetworkMode, b.Host.NetworkMode = "web", "web"
		before, err := Build(a)
		must(t, err)
		after, err := Build(b)
		must(t, err)
		before.Linux.Resources.Pids = nil // 0 lifts a limit that a new container does not have
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s: the specification changes:\n%s", name, diff)
		}
	}
	privileged := container.HostConfig{Privileged: true}
	Complete(&privileged, v2)
	if privileged.MaskedPaths != nil || privileged.ReadonlyPaths != nil {
		t.Errorf("a privileged container hides %q and %q", privileged.MaskedPaths, privileged.ReadonlyPaths)
	}
}
