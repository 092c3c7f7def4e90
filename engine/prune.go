package engine

import (
	"context"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// PruneContainers removes the containers that do not run and that filters
// select; what could be removed is told with the error. Source: Engine API,
// POST /containers/prune.
func (e *Engine) PruneContainers(ctx context.Context, f Filters) (container.PruneReport, error) {
	var report container.PruneReport
	if err := f.known("until", "label", "label!"); err != nil {
		return report, err
	}
	until, err := f.until(time.Now())
	if err != nil {
		return report, err
	}
	var errs []error
	for _, c := range e.all() {
		rec, st := c.record(), c.state()
		if st.alive() || st.Status == container.StateRestarting || st.Status == container.StateRemoving ||
			!until.IsZero() && rec.Created.After(until) || !f.matchLabels(rec.Config.Labels) {
			continue
		}
		size, err := e.rt.DiskUsage(ctx, c.id)
		if ignoreNotFound(err) != nil {
			errs = append(errs, err)
		}
		switch err := e.remove(ctx, c, RemoveOptions{}); {
		case err == nil:
			report.ContainersDeleted = append(report.ContainersDeleted, c.id)
			report.SpaceReclaimed += uint64(size)
		case !errdefs.IsConflict(err) && !errdefs.IsNotFound(err): // else it was started or removed meanwhile
			errs = append(errs, err)
		}
	}
	e.emit(events.ContainerEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, errJoin(errs...)
}
