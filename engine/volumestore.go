package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gantry/volumes"

	"github.com/containerd/errdefs"
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
	_, err := e.volumes.Get(req.Name)
	missing := errdefs.IsNotFound(err)
	v, err := e.volumes.Create(volumes.Volume{Name: req.Name, Driver: req.Driver, Options: req.DriverOpts, Labels: labels})
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
	users := e.volumeUsers()
	out := []volume.Volume{}
	for key := range f {
		if !slices.Contains([]string{"name", "label", "dangling", "driver"}, key) {
			return nil, fmt.Errorf("invalid filter %q: %w", key, errdefs.ErrInvalidArgument)
		}
	}
	for _, v := range e.volumes.List() {
		if len(f["name"]) > 0 && !slices.ContainsFunc(f["name"], func(n string) bool { return strings.Contains(v.Name, n) }) ||
			!matchLabels(v.Labels, f["label"]) || len(f["driver"]) > 0 && !slices.Contains(f["driver"], volumes.LocalDriver) {
			continue
		}
		if d := f["dangling"]; len(d) > 0 && (d[0] == "true" || d[0] == "1") != (len(users[v.Name]) == 0) {
			continue
		}
		out = append(out, apiVolume(v))
	}
	return out, nil
}

// RemoveVolume deletes a volume and its data; one that a container mounts,
// running or not, stays.
func (e *Engine) RemoveVolume(ctx context.Context, name string, force bool) error {
	if users := e.volumeUsers()[name]; len(users) > 0 {
		var names []string
		for _, id := range users {
			names = append(names, short(id))
		}
		return fmt.Errorf("volume %q is in use by %s, remove those containers first: %w", name, strings.Join(names, ", "), errdefs.ErrConflict)
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
