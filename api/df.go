package api

import (
	"context"
	"net/http"

	"github.com/moby/moby/api/types/system"
)

// diskUsage tells what objects take on the disk.
type diskUsage interface {
	DiskUsage(ctx context.Context, kinds []system.DiskUsageObject) (system.DiskUsage, error)
}

type diskRoutes struct{ diskUsage }

func (d diskRoutes) routes() []route {
	return []route{
		{"GET /system/df", d.usage},
	}
}

func (d diskRoutes) usage(w http.ResponseWriter, r *http.Request) error {
	var kinds []system.DiskUsageObject
	if versionOf(r).atLeast(1, 42) {
		for _, kind := range r.URL.Query()["type"] {
			kinds = append(kinds, system.DiskUsageObject(kind))
		}
	}
	got, err := d.DiskUsage(r.Context(), kinds)
	if err != nil {
		return err
	}
	if !flag(r, "verbose") {
		got = brief(got)
	}
	return writeJSON(w, http.StatusOK, got)
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
