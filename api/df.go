package api

import (
	"context"
	"net/http"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

// diskUsage tells what objects take on the disk.
type diskUsage interface {
	DiskUsage(ctx context.Context, kinds []system.DiskUsageObject) (system.DiskUsage, error)
}

type diskRoutes struct{ diskUsage }

func (d diskRoutes) routes() []route {
	return []route{
		{"GET /system/df", d.usage},
		{"POST /build/prune", d.pruneBuilds},
	}
}

// earlierUsage is what there was before API 1.52, and in it beside the new.
type earlierUsage struct {
	LayersSize int64               `json:"LayersSize"`
	Images     []image.Summary     `json:"Images"`
	Containers []container.Summary `json:"Containers"`
	Volumes    []volume.Volume     `json:"Volumes"`
	BuildCache []build.CacheRecord `json:"BuildCache"`
}

func (d diskRoutes) usage(w http.ResponseWriter, r *http.Request) error {
	var kinds []system.DiskUsageObject
	v := versionOf(r)
	if v.atLeast(1, 42) {
		for _, kind := range r.URL.Query()["type"] {
			kinds = append(kinds, system.DiskUsageObject(kind))
		}
	}
	got, err := d.DiskUsage(r.Context(), kinds)
	if err != nil {
		return err
	}
	verbose := flag(r, "verbose")
	switch {
	case !v.atLeast(1, 52):
		return writeJSON(w, http.StatusOK, earlier(got))
	case verbose:
		return writeJSON(w, http.StatusOK, got)
	case v.atLeast(1, 53):
		return writeJSON(w, http.StatusOK, brief(got))
	}
	return writeJSON(w, http.StatusOK, struct {
		system.DiskUsage
		earlierUsage
	}{brief(got), earlier(got)})
}

func earlier(u system.DiskUsage) (e earlierUsage) {
	if u.ImageUsage != nil {
		e.LayersSize, e.Images = u.ImageUsage.TotalSize, list(u.ImageUsage.Items)
	}
	if u.ContainerUsage != nil {
		e.Containers = list(u.ContainerUsage.Items)
	}
	if u.VolumeUsage != nil {
		e.Volumes = list(u.VolumeUsage.Items)
	}
	if u.BuildCacheUsage != nil {
		e.BuildCache = list(u.BuildCacheUsage.Items)
	}
	return e
}

// brief is without the objects themselves.
func brief(u system.DiskUsage) system.DiskUsage {
	if u.ImageUsage != nil {
		c := *u.ImageUsage
		c.Items, u.ImageUsage = nil, &c
	}
	if u.ContainerUsage != nil {
		c := *u.ContainerUsage
		c.Items, u.ContainerUsage = nil, &c
	}
	if u.VolumeUsage != nil {
		c := *u.VolumeUsage
		c.Items, u.VolumeUsage = nil, &c
	}
	if u.BuildCacheUsage != nil {
		c := *u.BuildCacheUsage
		c.Items, u.BuildCacheUsage = nil, &c
	}
	return u
}

// pruneBuilds reports that nothing went: BuildKit keeps its cache within its
// configured size itself and is not asked for it yet.
func (d diskRoutes) pruneBuilds(w http.ResponseWriter, r *http.Request) error {
	if _, err := filters(r); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, build.CachePruneReport{CachesDeleted: []string{}})
}
