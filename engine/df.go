package engine

import (
	"context"
	"fmt"
	"slices"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

// DiskUsage tells what objects take on the disk, for the kinds asked for or,
// for none, all.
func (e *Engine) DiskUsage(ctx context.Context, kinds []system.DiskUsageObject) (system.DiskUsage, error) {
	var out system.DiskUsage
	if len(kinds) == 0 {
		kinds = []system.DiskUsageObject{system.ContainerObject, system.ImageObject, system.VolumeObject, system.BuildCacheObject}
	}
	for _, kind := range kinds {
		var err error
		switch kind {
		case system.ContainerObject:
			out.ContainerUsage, err = e.containerUsage(ctx)
		case system.ImageObject:
			out.ImageUsage, err = e.imageUsage(ctx)
		case system.VolumeObject:
			out.VolumeUsage, err = e.volumeUsage(ctx)
		case system.BuildCacheObject:
			out.BuildCacheUsage, err = e.buildCacheUsage(ctx)
		default:
			err = fmt.Errorf("unknown object type: %s: %w", kind, errdefs.ErrInvalidArgument)
		}
		if err != nil {
			return system.DiskUsage{}, fmt.Errorf("disk usage: %w", err)
		}
	}
	return out, nil
}

// imageUsage counts what images share once. Reclaimable is what remains when
// only those that containers use stay.
func (e *Engine) imageUsage(ctx context.Context) (*image.DiskUsage, error) {
	items, err := e.ListImages(ctx, ImageListOptions{SharedSize: true})
	if err != nil {
		return nil, err
	}
	all, err := e.rt.Images(ctx)
	if err != nil {
		return nil, err
	}
	users := e.imageUsers()
	u := &image.DiskUsage{Items: items, TotalCount: int64(len(all)), TotalSize: totalSize(all)}
	used := slices.DeleteFunc(all, func(img *ctd.Image) bool { return users.of(img) == 0 })
	u.ActiveCount, u.Reclaimable = int64(len(used)), u.TotalSize-totalSize(used)
	return u, nil
}

func (e *Engine) containerUsage(ctx context.Context) (*container.DiskUsage, error) {
	items, err := e.ListContainers(ctx, ListOptions{All: true, Size: true})
	if err != nil {
		return nil, err
	}
	u := &container.DiskUsage{Items: items, TotalCount: int64(len(items))}
	for _, c := range items {
		u.TotalSize += c.SizeRw
		switch c.State {
		case container.StateRunning, container.StatePaused, container.StateRestarting:
			u.ActiveCount++
		default:
			u.Reclaimable += c.SizeRw
		}
	}
	return u, nil
}

func (e *Engine) volumeUsage(ctx context.Context) (*volume.DiskUsage, error) {
	items, err := e.ListVolumes(ctx, nil)
	if err != nil {
		return nil, err
	}
	users := e.volumeUsers()
	u := &volume.DiskUsage{Items: items, TotalCount: int64(len(items))}
	for i := range items {
		v := &items[i]
		v.UsageData = &volume.UsageData{Size: -1, RefCount: int64(len(users[v.Name]))}
		// what lies behind mount options is not on this disk
		if len(v.Options) == 0 {
			size, err := e.volumes.Size(ctx, v.Name)
			if err != nil && !errdefs.IsNotFound(err) { // it may be removed meanwhile
				return nil, fmt.Errorf("size of volume %q: %w", v.Name, err)
			}
			v.UsageData.Size = size
		}
		size := max(0, v.UsageData.Size)
		u.TotalSize += size
		if v.UsageData.RefCount > 0 {
			u.ActiveCount++
		} else {
			u.Reclaimable += size
		}
	}
	return u, nil
}
