package containerd

import (
	"context"
	"fmt"
	"math"
	"time"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
)

// Stats is what a container uses, of cgroup v1 or v2. Limits are 0 when there
// is none.
type Stats struct {
	At     time.Time
	CPU    CPUStats
	Memory MemoryStats
	Pids   PidsStats
	IO     []IOStats
}

// CPUStats are times since the container's start.
type CPUStats struct {
	Total, User, System       time.Duration
	PerCPU                    []time.Duration // cgroup v1 only
	Periods, ThrottledPeriods uint64
	ThrottledTime             time.Duration
}

// MemoryStats are in bytes.
type MemoryStats struct {
	Usage, Limit, Peak uint64
	Inactive           uint64 // file pages that can be dropped; Docker shows Usage - Inactive
	OOMKills, Failures uint64 // how often it killed a process; how often the limit was hit
	Swap, SwapLimit    uint64
	// Detail is the kernel's memory.stat, with its names; those of cgroup v1 and
	// v2 differ.
	Detail map[string]uint64
}

// PidsStats counts processes and threads.
type PidsStats struct{ Current, Limit uint64 }

// IOStats counts what went to and from one block device.
type IOStats struct {
	Major, Minor            uint64
	ReadBytes, WrittenBytes uint64
	Reads, Writes           uint64
}

// Stats measures a running container. ErrNotFound when it does not run.
func (r *Runtime) Stats(ctx context.Context, id string) (Stats, error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	resp, err := r.client.TaskService().Metrics(ctx, &tasks.MetricsRequest{Filters: []string{"id==" + id}})
	if err != nil {
		return Stats{}, fmt.Errorf("statistics of container %q: %w", id, errgrpc.ToNative(err))
	}
	if len(resp.Metrics) == 0 || resp.Metrics[0].Data == nil {
		return Stats{}, fmt.Errorf("statistics of container %q: %w", id, errdefs.ErrNotFound)
	}
	m := resp.Metrics[0]
	data, err := typeurl.UnmarshalAny(m.Data)
	if err != nil {
		return Stats{}, fmt.Errorf("statistics of container %q: %w", id, err)
	}
	var s Stats
	switch data := data.(type) {
	case *v1.Metrics:
		s = statsV1(data)
	case *v2.Metrics:
		s = statsV2(data)
	default:
		return Stats{}, fmt.Errorf("statistics of container %q: of type %T: %w", id, data, errdefs.ErrNotImplemented)
	}
	s.At = m.Timestamp.AsTime()
	return s, nil
}

// noLimitV1 is what cgroup v1 says for no limit, or more.
const noLimitV1 = 1 << 62

func limit(n, none uint64) uint64 {
	if n >= none {
		return 0
	}
	return n
}

func statsV1(m *v1.Metrics) Stats {
	u, t := m.GetCPU().GetUsage(), m.GetCPU().GetThrottling()
	s := Stats{
		CPU: CPUStats{
			Total: time.Duration(u.GetTotal()), User: time.Duration(u.GetUser()), System: time.Duration(u.GetKernel()),
			Periods: t.GetPeriods(), ThrottledPeriods: t.GetThrottledPeriods(), ThrottledTime: time.Duration(t.GetThrottledTime()),
		},
		Pids: PidsStats{Current: m.GetPids().GetCurrent(), Limit: m.GetPids().GetLimit()},
	}
	for _, n := range u.GetPerCPU() {
		s.CPU.PerCPU = append(s.CPU.PerCPU, time.Duration(n))
	}
	mem := m.GetMemory()
	s.Memory = MemoryStats{
		Usage: mem.GetUsage().GetUsage(), Limit: limit(mem.GetUsage().GetLimit(), noLimitV1), Peak: mem.GetUsage().GetMax(),
		Inactive: mem.GetTotalInactiveFile(), OOMKills: m.GetMemoryOomControl().GetOomKill(), Failures: mem.GetUsage().GetFailcnt(),
		Detail: detailV1(mem),
	}
	if all := mem.GetSwap(); all != nil { // memory and swap together
		s.Memory.Swap = all.GetUsage() - min(all.GetUsage(), s.Memory.Usage)
		s.Memory.SwapLimit = limit(all.GetLimit(), noLimitV1)
	}
	byDevice := map[[2]uint64]int{}
	device := func(e *v1.BlkIOEntry) *IOStats {
		key := [2]uint64{e.GetMajor(), e.GetMinor()}
		i, ok := byDevice[key]
		if !ok {
			i = len(s.IO)
			byDevice[key] = i
			s.IO = append(s.IO, IOStats{Major: key[0], Minor: key[1]})
		}
		return &s.IO[i]
	}
	for _, e := range m.GetBlkio().GetIoServiceBytesRecursive() {
		switch e.GetOp() {
		case "Read":
			device(e).ReadBytes += e.GetValue()
		case "Write":
			device(e).WrittenBytes += e.GetValue()
		}
	}
	for _, e := range m.GetBlkio().GetIoServicedRecursive() {
		switch e.GetOp() {
		case "Read":
			device(e).Reads += e.GetValue()
		case "Write":
			device(e).Writes += e.GetValue()
		}
	}
	return s
}

func statsV2(m *v2.Metrics) Stats {
	c, mem := m.GetCPU(), m.GetMemory()
	micro := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
	s := Stats{
		CPU: CPUStats{
			Total: micro(c.GetUsageUsec()), User: micro(c.GetUserUsec()), System: micro(c.GetSystemUsec()),
			Periods: c.GetNrPeriods(), ThrottledPeriods: c.GetNrThrottled(), ThrottledTime: micro(c.GetThrottledUsec()),
		},
		Memory: MemoryStats{
			Usage: mem.GetUsage(), Limit: limit(mem.GetUsageLimit(), math.MaxUint64), Peak: mem.GetMaxUsage(),
			Inactive: mem.GetInactiveFile(), OOMKills: m.GetMemoryEvents().GetOomKill(), Failures: m.GetMemoryEvents().GetMax(),
			Swap: mem.GetSwapUsage(), SwapLimit: limit(mem.GetSwapLimit(), math.MaxUint64), Detail: detailV2(mem),
		},
		Pids: PidsStats{Current: m.GetPids().GetCurrent(), Limit: limit(m.GetPids().GetLimit(), math.MaxUint64)},
	}
	for _, e := range m.GetIo().GetUsage() {
		s.IO = append(s.IO, IOStats{
			Major: e.GetMajor(), Minor: e.GetMinor(), ReadBytes: e.GetRbytes(), WrittenBytes: e.GetWbytes(), Reads: e.GetRios(), Writes: e.GetWios(),
		})
	}
	return s
}
