package engine

import (
	"context"
	"testing"
	"time"

	ctd "gantry/containerd"

	"github.com/moby/moby/api/types/container"
)

func TestHostCPU(t *testing.T) {
	total, online, err := parseHostCPU([]byte("cpu  10 20 30 40 50 60 70 80 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\ncpu3 1 2 3 4 5 6 7 8 9 0\nintr 5\n"))
	if err != nil || total != 280*10_000_000 || online != 2 {
		t.Errorf("%d ns on %d CPUs, %v", total, online, err)
	}
	for _, bad := range []string{"", "cpu 1 2", "cpu a b c d e f g h"} {
		if _, _, err := parseHostCPU([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTraffic(t *testing.T) {
	const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 99 9 0 0 0 0 0 0 99 9 0 0 0 0 0 0
 sit0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
  eth0: 854 9 1 2 0 0 0 0 70 7 3 4 0 0 0 0
  eth1:12345678901 9 1 2 0 0 0 0 70 7 3 4 0 0 0 0
`
	got := parseTraffic([]byte(dev))
	want := container.NetworkStats{RxBytes: 854, RxPackets: 9, RxErrors: 1, RxDropped: 2, TxBytes: 70, TxPackets: 7, TxErrors: 3, TxDropped: 4}
	if len(got) != 2 || got["eth0"] != want || got["eth1"].RxBytes != 12345678901 {
		t.Errorf("%+v", got)
	}
	if got := parseTraffic([]byte("garbage: 1 2\n:")); got != nil {
		t.Errorf("garbage is %v", got)
	}
}

// The docker CLI takes bytes read and written, and the memory without cache,
// from where each version of cgroups has them.
func TestStatsResponse(t *testing.T) {
	in := ctd.Stats{
		CPU:    ctd.CPUStats{Total: 7, User: 4, System: 3, PerCPU: []time.Duration{5, 2}, Periods: 1, ThrottledPeriods: 2, ThrottledTime: 3},
		Memory: ctd.MemoryStats{Usage: 100, Peak: 200, Limit: 300, Failures: 4, Detail: map[string]uint64{"inactive_file": 10}},
		Pids:   ctd.PidsStats{Current: 2, Limit: 9},
		IO:     []ctd.IOStats{{Major: 8, Minor: 1, ReadBytes: 11, WrittenBytes: 12, Reads: 13, Writes: 14}},
	}
	for _, v2 := range []bool{false, true} {
		s := statsResponse(in, v2)
		if s.CPUStats.CPUUsage.TotalUsage != 7 || len(s.CPUStats.CPUUsage.PercpuUsage) != 2 || s.CPUStats.ThrottlingData.ThrottledTime != 3 ||
			s.MemoryStats.Usage != 100 || s.MemoryStats.Stats["inactive_file"] != 10 || s.MemoryStats.Failcnt != 4 || s.PidsStats.Limit != 9 {
			t.Errorf("v2 %v: %+v", v2, s)
		}
		bytes := s.BlkioStats.IoServiceBytesRecursive
		if len(bytes) != 2 || bytes[0] != (container.BlkioStatEntry{Major: 8, Minor: 1, Op: "read", Value: 11}) || bytes[1].Op != "write" || bytes[1].Value != 12 {
			t.Errorf("v2 %v: %+v", v2, bytes)
		}
		if (s.BlkioStats.IoServicedRecursive == nil) != v2 || (s.BlkioStats.SectorsRecursive == nil) != v2 {
			t.Errorf("v2 %v: lists of v1: %+v", v2, s.BlkioStats)
		}
	}
}

// A container is measured by one, whoever watches; a watcher who does not read
// has the newest measurement when it does, and holds nobody up.
func TestMeterIsSharedAndNeverWaits(t *testing.T) {
	m := &meter{cancel: func() {}, watchers: map[chan container.StatsResponse]struct{}{}}
	slow, quick := make(chan container.StatsResponse, 1), make(chan container.StatsResponse, 1)
	m.add(slow)
	m.add(quick)
	for i := range uint32(3) {
		m.publish(container.StatsResponse{NumProcs: i})
		if got := <-quick; got.NumProcs != i {
			t.Errorf("measurement %d is %d", i, got.NumProcs)
		}
	}
	if got := <-slow; got.NumProcs != 2 {
		t.Errorf("the slow one gets number %d", got.NumProcs)
	}
	if left := m.remove(quick); left != 1 {
		t.Errorf("%d are left", left)
	}
	m.end()
	if _, ok := <-slow; ok {
		t.Error("the end is not told")
	}
	if m.remove(slow) != 0 || m.add(quick) {
		t.Error("one that has ended is still there")
	}
}

// Nobody measures once nobody watches.
func TestMeterRests(t *testing.T) {
	ectx, stop := context.WithCancel(t.Context())
	defer stop()
	e := &Engine{ctx: ectx}
	c := newCtr(record{ID: "x", Name: "x"}, state{Status: container.StateExited}, "")
	ctx, cancel := context.WithCancel(t.Context())
	first, second := e.meters.watch(ctx, e, c), e.meters.watch(ctx, e, c)
	if s := <-first; s.Name != "/x" || !s.Read.IsZero() {
		t.Errorf("a container that does not run is measured: %+v", s)
	}
	e.meters.mu.Lock()
	if n := len(e.meters.byID); n != 1 {
		t.Errorf("%d meters for one container", n)
	}
	e.meters.mu.Unlock()
	cancel()
	for range first { // closed when its watcher is gone
	}
	for range second {
	}
	e.meters.mu.Lock()
	defer e.meters.mu.Unlock()
	if n := len(e.meters.byID); n != 0 {
		t.Errorf("%d meters without a watcher", n)
	}
}
