package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"gantry/containerd/spec"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// UpdateContainer changes the limits and the restart policy of a container: of
// a running one at once, of another for its next start. What the request leaves
// empty stays. ErrInvalidArgument for limits that cannot be, ErrConflict for
// those that contradict what is set.
func (e *Engine) UpdateContainer(ctx context.Context, ref string, req container.UpdateConfig) (container.UpdateResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return container.UpdateResponse{}, err
	}
	warnings, err := checkUpdate(req, e.facts)
	if err != nil {
		return container.UpdateResponse{}, err
	}
	if err := c.lock(ctx); err != nil {
		return container.UpdateResponse{}, err
	}
	defer c.unlock()
	c.mu.Lock()
	rec, st, gone := c.rec, c.st, c.gone
	running := c.run != nil && !c.run.dead && st.alive()
	c.mu.Unlock()
	if gone || st.Status == container.StateRemoving {
		err = fmt.Errorf("container is marked for removal and cannot be \"update\": %w", errdefs.ErrConflict)
	} else if rec.HostConfig, err = mergeUpdate(rec.HostConfig, req); err == nil {
		spec.CompleteResources(&rec.HostConfig.Resources, e.facts)
		if _, err = spec.CheckUpdate(rec.HostConfig.Resources, e.facts); err == nil {
			err = e.applyUpdate(ctx, c, rec, running)
		}
	}
	if err != nil {
		return container.UpdateResponse{}, fmt.Errorf("Cannot update container %s: %w", c.id, err)
	}
	e.emitContainer(c, events.ActionUpdate, nil)
	if warnings == nil {
		warnings = []string{}
	}
	return container.UpdateResponse{Warnings: warnings}, nil
}

// applyUpdate brings a changed configuration into effect: first where it can be
// refused, last where it is remembered. The operation lock is held.
func (e *Engine) applyUpdate(ctx context.Context, c *ctr, rec record, running bool) error {
	res := spec.Resources(rec.HostConfig, e.facts)
	if running {
		// A process that ends meanwhile has no limits: the next one gets them.
		if err := ignoreNotFound(e.rt.Update(ctx, c.id, res)); err != nil {
			return err
		}
	}
	s, err := e.rt.Spec(ctx, c.id)
	if err != nil {
		return err
	}
	if old := s.Linux.Resources; old != nil {
		old.Memory, old.CPU, old.Pids, old.BlockIO = res.Memory, res.CPU, res.Pids, res.BlockIO
	} else {
		s.Linux.Resources = res
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	if err := e.rt.UpdateSpec(ctx, c.id, s); err != nil {
		return err
	}
	if err := e.rt.UpdateRecord(ctx, c.id, b); err != nil {
		return err
	}
	c.mu.Lock()
	c.rec.HostConfig = rec.HostConfig
	c.mu.Unlock()
	return nil
}

// checkUpdate refuses what no container could be changed to.
func checkUpdate(req container.UpdateConfig, f spec.Facts) (warnings []string, err error) {
	if err := container.ValidateRestartPolicy(req.RestartPolicy); err != nil {
		return nil, fmt.Errorf("%v: %w", err, errdefs.ErrInvalidArgument)
	}
	r := req.Resources
	for what, asked := range map[string]bool{
		"CgroupParent": r.CgroupParent != "", "BlkioWeightDevice": len(r.BlkioWeightDevice) > 0,
		"BlkioDeviceReadBps": len(r.BlkioDeviceReadBps) > 0, "BlkioDeviceWriteBps": len(r.BlkioDeviceWriteBps) > 0,
		"BlkioDeviceReadIOps": len(r.BlkioDeviceReadIOps) > 0, "BlkioDeviceWriteIOps": len(r.BlkioDeviceWriteIOps) > 0,
		"Devices": len(r.Devices) > 0, "DeviceCgroupRules": len(r.DeviceCgroupRules) > 0, "DeviceRequests": len(r.DeviceRequests) > 0,
		"MemorySwappiness": r.MemorySwappiness != nil && *r.MemorySwappiness >= 0, "OomKillDisable": r.OomKillDisable != nil && *r.OomKillDisable,
		"Ulimits": len(r.Ulimits) > 0, "CpuCount": r.CPUCount != 0, "IOMaximumIOps": r.IOMaximumIOps != 0, "IOMaximumBandwidth": r.IOMaximumBandwidth != 0,
	} {
		if asked {
			return nil, fmt.Errorf("%s cannot be updated: make a new container: %w", what, errdefs.ErrInvalidArgument)
		}
	}
	return spec.CheckUpdate(r, f)
}

// mergeUpdate lays what an update asks for over a container's configuration.
// The rules and their words are dockerd's.
func mergeUpdate(h container.HostConfig, req container.UpdateConfig) (container.HostConfig, error) {
	r := req.Resources
	for _, conflict := range []struct {
		is   bool
		says string
	}{
		{r.NanoCPUs > 0 && h.CPUPeriod > 0, "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"},
		{r.NanoCPUs > 0 && h.CPUQuota > 0, "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"},
		{r.CPUPeriod > 0 && h.NanoCPUs > 0, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"},
		{r.CPUQuota > 0 && h.NanoCPUs > 0, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"},
		{r.MemorySwap == 0 && h.MemorySwap > 0 && r.Memory > h.MemorySwap,
			"Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"},
		{r.MemorySwap > 0 && r.Memory == 0 && h.Memory == 0, "You should always set the Memory limit when using Memoryswap limit, see usage"},
		{h.AutoRemove && !req.RestartPolicy.IsNone(), "Restart policy cannot be updated because AutoRemove is enabled for the container"},
	} {
		if conflict.is {
			return h, fmt.Errorf("%s: %w", conflict.says, errdefs.ErrConflict)
		}
	}
	override(&h.BlkioWeight, r.BlkioWeight)
	override(&h.CPUShares, r.CPUShares)
	override(&h.NanoCPUs, r.NanoCPUs)
	override(&h.CPUPeriod, r.CPUPeriod)
	override(&h.CPUQuota, r.CPUQuota)
	override(&h.CPURealtimePeriod, r.CPURealtimePeriod)
	override(&h.CPURealtimeRuntime, r.CPURealtimeRuntime)
	override(&h.CpusetCpus, r.CpusetCpus)
	override(&h.CpusetMems, r.CpusetMems)
	override(&h.Memory, r.Memory)
	override(&h.MemorySwap, r.MemorySwap)
	override(&h.MemoryReservation, r.MemoryReservation)
	override(&h.PidsLimit, r.PidsLimit)
	if req.RestartPolicy.Name != "" {
		h.RestartPolicy = req.RestartPolicy
	}
	return h, nil
}

// override sets to unless v is empty.
func override[T comparable](to *T, v T) {
	var zero T
	if v != zero {
		*to = v
	}
}
