package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// changed says whether one of the images is another than expected. Each image
// is looked at once, so that all steps of a run decide alike.
func (r *runner) changed(any []ImageChange) (bool, error) {
	for _, c := range any {
		q := ImageQuery{Ref: c.Ref, Platform: c.Platform}
		id, known := r.images[q]
		if !known {
			s, err := r.driver.Observe(r.ctx, Query{Project: r.plan.Project, Images: []ImageQuery{q}})
			if err != nil {
				return false, fmt.Errorf("image %q: %w", c.Ref, err)
			}
			id = s.Images[q.Key()].ID
			r.images[q] = id
		}
		if id != c.ID {
			return true, nil
		}
	}
	return false, nil
}

// settled is an action with the containers that were not replaced in place of
// their replacements.
func (r *runner) settled(a Action) Action {
	if len(r.standIn) == 0 {
		return a
	}
	now := func(id string) string {
		if other, ok := r.standIn[id]; ok {
			return other
		}
		return id
	}
	mode := func(m string) string {
		if id, ok := strings.CutPrefix(m, "container:"); ok {
			return "container:" + now(id)
		}
		return m
	}
	switch a := a.(type) {
	case StartContainer:
		a.ID = now(a.ID)
		return a
	case WaitContainer:
		a.ID = now(a.ID)
		return a
	case RunHook:
		a.ID = now(a.ID)
		return a
	case RenameContainer:
		a.ID = now(a.ID)
		return a
	case CreateContainer:
		h := &a.Host
		h.NetworkMode = container.NetworkMode(mode(string(h.NetworkMode)))
		h.PidMode, h.IpcMode = container.PidMode(mode(string(h.PidMode))), container.IpcMode(mode(string(h.IpcMode)))
		h.VolumesFrom = slices.Clone(h.VolumesFrom)
		for i, from := range h.VolumesFrom {
			id, rest, moded := strings.Cut(from, ":")
			if moded {
				rest = ":" + rest
			}
			h.VolumesFrom[i] = now(id) + rest
		}
		return a
	}
	return a
}

// doubt is when something happens: always, never, or if one of the images is
// another than expected.
type doubt struct {
	happens bool
	onlyIf  []ImageChange // empty: for sure
}

var surely = doubt{happens: true}

func ifChanged(c []ImageChange) doubt { return doubt{len(c) > 0, c} }

// or happens when either does.
func (d doubt) or(o doubt) doubt {
	switch {
	case !d.happens:
		return o
	case !o.happens:
		return d
	case len(d.onlyIf) == 0 || len(o.onlyIf) == 0:
		return surely
	}
	all := slices.Concat(d.onlyIf, o.onlyIf)
	slices.SortFunc(all, func(a, b ImageChange) int {
		return strings.Compare(a.Ref+"\x00"+a.Platform+a.ID, b.Ref+"\x00"+b.Platform+b.ID)
	})
	return doubt{true, slices.Compact(all)}
}
