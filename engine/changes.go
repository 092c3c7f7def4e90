package engine

import (
	"context"
	"maps"
	"slices"

	"gantry/containerd/files"

	"github.com/moby/moby/api/types/container"
)

// runtimePlaces are what the runtime makes in every container's root.
var runtimePlaces = []string{"/dev", "/proc", "/sys", "/sbin/docker-init"}

// ContainerChanges lists what has changed in a container's file system since it
// was created, without what is mounted in it.
func (e *Engine) ContainerChanges(ctx context.Context, ref string) ([]container.FilesystemChange, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	changes, err := e.rt.Changes(ctx, c.id)
	if err != nil {
		return nil, err
	}
	rec := c.record()
	hidden := append(slices.Collect(maps.Keys(e.files(c, &rec))), runtimePlaces...)
	for i := range rec.Mounts {
		hidden = append(hidden, rec.Mounts[i].Target)
	}
	kinds := map[files.Kind]container.ChangeType{files.Modified: container.ChangeModify, files.Added: container.ChangeAdd, files.Deleted: container.ChangeDelete}
	var out []container.FilesystemChange
	for _, ch := range files.Visible(changes, hidden) {
		out = append(out, container.FilesystemChange{Kind: kinds[ch.Kind], Path: ch.Path})
	}
	return out, nil
}
