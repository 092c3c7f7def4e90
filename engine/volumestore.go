package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/volume"
)

// CreateVolume makes a volume; one of that name that fits is returned.
func (e *Engine) CreateVolume(_ context.Context, req volume.CreateRequest) (volume.Volume, error) {
	labels := req.Labels
	if req.Name == "" {
		req.Name = randomID()
		labels = map[string]string{labelAnonymous: ""}
		for k, v := range req.Labels {
			labels[k] = v
		}
	}
	v, missing, err := e.makeVolume(volumes.Volume{Name: req.Name, Driver: req.Driver, Options: req.DriverOpts, Labels: labels})
	if err != nil {
		return volume.Volume{}, err
	}
	if missing {
		e.emit(events.VolumeEventType, events.ActionCreate, v.Name, map[string]string{"driver": volumes.LocalDriver})
	}
	return apiVolume(v), nil
}

func apiVolume(v volumes.Volume) volume.Volume {
	out := volume.Volume{Name: v.Name, Driver: volumes.LocalDriver, Mountpoint: v.Mountpoint, CreatedAt: v.Created.UTC().Format("2006-01-02T15:04:05Z07:00"),
		Labels: v.Labels, Options: v.Options, Scope: "local"}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	return out
}

// InspectVolume returns a volume.
func (e *Engine) InspectVolume(_ context.Context, name string) (volume.Volume, error) {
	v, err := e.volumes.Get(name)
	if err != nil {
		return volume.Volume{}, err
	}
	return apiVolume(v), nil
}

// ListVolumes returns the volumes that filters select, by name.
func (e *Engine) ListVolumes(_ context.Context, f Filters) ([]volume.Volume, error) {
	if err := f.known("name", "label", "label!", "dangling", "driver"); err != nil {
		return nil, err
	}
	dangling, err := f.boolean("dangling")
	if err != nil {
		return nil, err
	}
	users := e.volumeUsers()
	out := []volume.Volume{}
	for _, v := range e.volumes.List() {
		if len(f["name"]) > 0 && !slices.ContainsFunc(f["name"], func(n string) bool { return nameMatches(n, v.Name) }) ||
			!f.matchLabels(v.Labels) || len(f["driver"]) > 0 && !slices.Contains(f["driver"], volumes.LocalDriver) ||
			dangling != nil && *dangling != (len(users[v.Name]) == 0) {
			continue
		}
		out = append(out, apiVolume(v))
	}
	return out, nil
}

// RemoveVolume deletes a volume and its data; one that a container mounts,
// running or not, stays.
func (e *Engine) RemoveVolume(ctx context.Context, name string, force bool) error {
	free := func() error {
		if users := e.volumeUsers()[name]; len(users) > 0 {
			return fmt.Errorf("remove %s: volume is in use - [%s]: %w", name, strings.Join(users, ", "), errdefs.ErrConflict)
		}
		return nil
	}
	if err := free(); err != nil { // without a wait for a container that is being made with it
		return err
	}
	unlock := e.exclusive("volume " + name)
	defer unlock()
	if err := free(); err != nil {
		return err
	}
	if err := e.volumes.Remove(ctx, name); err != nil {
		if force && errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	e.emit(events.VolumeEventType, events.ActionDestroy, name, map[string]string{"driver": volumes.LocalDriver})
	return nil
}

// PruneVolumes removes the volumes that no container uses: the anonymous ones,
// or with the filter "all" the others too.
func (e *Engine) PruneVolumes(ctx context.Context, f Filters) (volume.PruneReport, error) {
	out := volume.PruneReport{VolumesDeleted: []string{}}
	if err := f.known("all", "label", "label!"); err != nil {
		return out, err
	}
	all, err := f.boolean("all")
	if err != nil {
		return out, err
	}
	users := e.volumeUsers()
	for _, v := range e.volumes.List() {
		_, anonymous := v.Labels[labelAnonymous]
		if len(users[v.Name]) > 0 || !anonymous && (all == nil || !*all) || !f.matchLabels(v.Labels) {
			continue
		}
		size, err := e.volumes.Size(ctx, v.Name)
		if err != nil {
			log.G(ctx).WithError(err).Warnf("volume %q: how large it is", v.Name)
		}
		switch err := e.RemoveVolume(ctx, v.Name, false); {
		case ctx.Err() != nil:
			return out, context.Cause(ctx)
		case err != nil:
			log.G(ctx).WithError(err).Warnf("volume %q is not pruned", v.Name)
		default:
			out.VolumesDeleted = append(out.VolumesDeleted, v.Name)
			out.SpaceReclaimed += uint64(size)
		}
	}
	e.emit(events.VolumeEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(out.SpaceReclaimed, 10)})
	return out, nil
}
