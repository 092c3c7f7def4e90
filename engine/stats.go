package engine

import (
	"context"
	"fmt"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// sampleEvery is the distance of two measurements, as Docker has it.
const sampleEvery = time.Second

// StatsContainer measures a container once a second until ctx ends or the
// container is removed; then the channel is closed. While the container does
// not run, what is sent has a name only. A reader that is slow misses
// measurements, and each tells the CPU time since the one before.
func (e *Engine) StatsContainer(ctx context.Context, ref string) (<-chan container.StatsResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	return e.meters.watch(ctx, e, c), nil
}

// StatsContainerOnce measures a container once; with previous, a second after
// an earlier measurement, which it tells too. One that does not run has a name
// only.
func (e *Engine) StatsContainerOnce(ctx context.Context, ref string, previous bool) (container.StatsResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return container.StatsResponse{}, err
	}
	if !previous {
		s, err := e.sample(ctx, c)
		if errdefs.IsFailedPrecondition(err) || errdefs.IsNotFound(err) {
			return c.unmeasured(), nil
		}
		return s, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*sampleEvery, fmt.Errorf("container %q: waiting for its second measurement: %w", c.name(), context.DeadlineExceeded))
	defer cancel()
	for s := range e.meters.watch(ctx, e, c) {
		if s.Read.IsZero() || !s.PreRead.IsZero() {
			return s, nil
		}
	}
	if err := context.Cause(ctx); err != nil {
		return container.StatsResponse{}, err
	}
	return container.StatsResponse{}, fmt.Errorf("No such container: %s: %w", ref, errdefs.ErrNotFound)
}

// unmeasured is what is told of a container that does not run.
func (c *ctr) unmeasured() container.StatsResponse {
	return container.StatsResponse{ID: c.id, Name: "/" + c.name(), OSType: "linux"}
}

// sample measures a container now. ErrFailedPrecondition or ErrNotFound when
// it does not run.
func (e *Engine) sample(ctx context.Context, c *ctr) (container.StatsResponse, error) {
	r, err := c.current()
	if err != nil {
		return container.StatsResponse{}, err
	}
	got, err := e.rt.Stats(ctx, c.id)
	if err != nil {
		return container.StatsResponse{}, err
	}
	host, online, err := hostCPU()
	if err != nil {
		return container.StatsResponse{}, err
	}
	s := statsResponse(got, e.facts.CgroupV2)
	s.ID, s.Name, s.OSType, s.Read = c.id, "/"+c.name(), "linux", time.Now().UTC()
	s.CPUStats.SystemUsage, s.CPUStats.OnlineCPUs = host, uint32(online)
	var mem unix.Sysinfo_t
	if err := unix.Sysinfo(&mem); err != nil {
		return s, fmt.Errorf("memory of the host: %w", err)
	}
	if total := uint64(mem.Totalram) * uint64(mem.Unit); s.MemoryStats.Limit == 0 || s.MemoryStats.Limit > total {
		s.MemoryStats.Limit = total // what it can have at most
	}
	if e.ownNetwork(c) {
		s.Networks = processTraffic(r.pid)
	}
	return s, nil
}

// ownNetwork tells whether a container has a network other than the host's,
// its own or that of the container that it joins.
func (e *Engine) ownNetwork(c *ctr) bool {
	for range 16 { // containers that join containers; a ring cannot be made, but is not worth hanging for
		rec := c.record()
		mode := rec.HostConfig.NetworkMode
		if !mode.IsContainer() {
			return !mode.IsHost()
		}
		owner, err := e.find(mode.ConnectedContainer())
		if err != nil {
			return false
		}
		c = owner
	}
	return false
}

// statsResponse says in Docker's shape what a container has used.
func statsResponse(got ctd.Stats, v2 bool) container.StatsResponse {
	s := container.StatsResponse{
		CPUStats: container.CPUStats{
			CPUUsage: container.CPUUsage{TotalUsage: uint64(got.CPU.Total), UsageInKernelmode: uint64(got.CPU.System), UsageInUsermode: uint64(got.CPU.User)},
			ThrottlingData: container.ThrottlingData{
				Periods: got.CPU.Periods, ThrottledPeriods: got.CPU.ThrottledPeriods, ThrottledTime: uint64(got.CPU.ThrottledTime),
			},
		},
		MemoryStats: container.MemoryStats{
			Usage: got.Memory.Usage, MaxUsage: got.Memory.Peak, Stats: got.Memory.Detail, Failcnt: got.Memory.Failures, Limit: got.Memory.Limit,
		},
		PidsStats: container.PidsStats{Current: got.Pids.Current, Limit: got.Pids.Limit},
	}
	for _, t := range got.CPU.PerCPU {
		s.CPUStats.CPUUsage.PercpuUsage = append(s.CPUStats.CPUUsage.PercpuUsage, uint64(t))
	}
	if !v2 { // lists that only cgroup v1 has are there, if empty
		s.BlkioStats = container.BlkioStats{
			IoServiceBytesRecursive: []container.BlkioStatEntry{}, IoServicedRecursive: []container.BlkioStatEntry{}, IoQueuedRecursive: []container.BlkioStatEntry{},
			IoServiceTimeRecursive: []container.BlkioStatEntry{}, IoWaitTimeRecursive: []container.BlkioStatEntry{}, IoMergedRecursive: []container.BlkioStatEntry{},
			IoTimeRecursive: []container.BlkioStatEntry{}, SectorsRecursive: []container.BlkioStatEntry{},
		}
	}
	for _, d := range got.IO {
		both := func(read, write uint64) []container.BlkioStatEntry {
			return []container.BlkioStatEntry{
				{Major: d.Major, Minor: d.Minor, Op: "read", Value: read},
				{Major: d.Major, Minor: d.Minor, Op: "write", Value: write},
			}
		}
		s.BlkioStats.IoServiceBytesRecursive = append(s.BlkioStats.IoServiceBytesRecursive, both(d.ReadBytes, d.WrittenBytes)...)
		if !v2 {
			s.BlkioStats.IoServicedRecursive = append(s.BlkioStats.IoServicedRecursive, both(d.Reads, d.Writes)...)
		}
	}
	return s
}

// measure feeds a meter until nobody reads it or the container is gone.
func (e *Engine) measure(ctx context.Context, c *ctr, m *meter) {
	gone := make(chan struct{})
	go func() {
		if c.await(ctx, func() (bool, error) { return c.gone, nil }) == nil {
			close(gone)
		}
	}()
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	var last container.StatsResponse
	for {
		s, err := e.sample(ctx, c)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			s.PreRead, s.PreCPUStats = last.Read, last.CPUStats
		default:
			if !errdefs.IsFailedPrecondition(err) && !errdefs.IsNotFound(err) {
				log.G(ctx).WithError(err).Warnf("container %q cannot be measured", c.name())
			}
			s = c.unmeasured()
		}
		last = s
		m.publish(s)
		select {
		case <-t.C:
		case <-gone:
			m.end()
			return
		case <-e.ctx.Done():
			m.end()
			return
		case <-ctx.Done():
			return
		}
	}
}
