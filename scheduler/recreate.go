package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"gantry/project"

	"github.com/moby/moby/api/types/mount"
)

// reasons is why a container is replaced. The first row that answers is the
// cause; a container for which none does is up to date.
var reasons = []func(b *up, w *work, c *Container) string{
	// asked for: --force-recreate, --always-recreate-deps
	func(_ *up, w *work, _ *Container) string {
		if w.recreate == RecreateAlways {
			return "recreation was asked for"
		}
		return ""
	},
	// the service's definition is another one
	func(_ *up, w *work, c *Container) string {
		if c.Hash != w.svc.Hash {
			return "configuration changed"
		}
		return ""
	},
	// a secret or config holds something else
	func(_ *up, w *work, c *Container) string {
		for _, f := range w.svc.Files {
			if !f.Withheld && c.Files[f.Target] != f.Content.Digest() {
				return fmt.Sprintf("%s %s changed", f.Kind, f.Name)
			}
		}
		return ""
	},
	// the registry has a newer image, which this plan pulls
	func(_ *up, w *work, _ *Container) string {
		if w.image.newer {
			return "newer image"
		}
		return ""
	},
	// the image's name means another image than when the container was created
	func(b *up, w *work, c *Container) string {
		if id := b.s.image(w.svc).ID; id != "" && c.ImageID != "" && id != c.ImageID {
			return "image changed"
		}
		return ""
	},
	// a network that it is on will be, or was, made anew
	func(b *up, w *work, c *Container) string {
		for _, name := range sorted(c.Networks) {
			if n := b.networks[name]; n != nil && n.replaced {
				return fmt.Sprintf("network %s changed", name)
			}
		}
		for _, a := range w.svc.Networks {
			id, on := c.Networks[a.Name]
			now, exists := b.s.Networks[a.Name]
			switch {
			case !on:
				return fmt.Sprintf("not on network %s", a.Name)
			case id == "": // it gets its place when it starts
			case !exists || now.ID != id:
				return fmt.Sprintf("network %s was recreated", a.Name)
			}
		}
		return ""
	},
	// a named volume that it mounts is gone, or another one has its name
	func(b *up, w *work, c *Container) string {
		for _, m := range w.svc.HostConfig.Mounts {
			if m.Type != mount.TypeVolume || m.Source == "" {
				continue
			}
			if v := b.volumes[m.Source]; v != nil && !v.hasUser(c.ID) {
				return fmt.Sprintf("volume %s was recreated", m.Source)
			}
		}
		return ""
	},
	// the container whose namespace it shares is replaced
	func(b *up, w *work, c *Container) string {
		for i, mode := range modes(w.svc) {
			want, have := b.resolveMode(mode), c.modes()[i]
			if strings.HasPrefix(want, "container:") && want != have && b.presentMode(mode) != have {
				return fmt.Sprintf("%s was replaced", mode)
			}
		}
		return ""
	},
	// the container whose volumes it mounts is replaced
	func(b *up, w *work, c *Container) string {
		if !slices.Equal(b.volumesFrom(w.svc, b.resolveMode), c.VolumesFrom) && !slices.Equal(b.volumesFrom(w.svc, b.presentMode), c.VolumesFrom) {
			return "the container of volumes_from was replaced"
		}
		return ""
	},
}

// whyRecreate is the reason why c must be replaced, "" when it is up to date.
func (b *up) whyRecreate(w *work, c *Container) string {
	if w.recreate == RecreateNever {
		return ""
	}
	for _, reason := range reasons {
		if why := reason(b, w, c); why != "" {
			return why
		}
	}
	return ""
}

// doubts is when c, which is up to date by all that is known, is replaced after
// all: if its image turns out to be another one, or the container is replaced
// whose namespace or volumes it shares.
func (b *up) doubts(w *work, c *Container) doubt {
	if w.recreate == RecreateNever {
		return doubt{}
	}
	var when doubt
	if w.image.ask || w.image.build != "" {
		when = ifChanged([]ImageChange{{Ref: w.svc.Image, Platform: w.svc.Platform, ID: c.ImageID}})
	}
	for _, mode := range owners(w.svc) {
		name, ok := strings.CutPrefix(mode, "service:")
		if owner := b.work[name]; ok && owner != nil && len(owner.slots) > 0 {
			if t := owner.slots[0]; t.stays() != nil {
				when = when.or(t.replaced)
			}
		}
	}
	return when
}

func (v *volWork) hasUser(id string) bool {
	if v.now == nil {
		return false
	}
	for _, u := range v.now.Users {
		if u == id {
			return true
		}
	}
	return false
}

func (c *Container) modes() [3]string { return [3]string{c.NetworkMode, c.PidMode, c.IpcMode} }

// resolveMode turns "service:X" into "container:ID" of X's first container as
// it will be after this plan, and "container:NAME" likewise. A mode that names
// nothing to be found comes back as it is.
func (b *up) resolveMode(mode string) string {
	return b.resolve(mode, func(t *slot) string { return t.id })
}

// presentMode is resolveMode, as it stays if no image turns out to be another.
func (b *up) presentMode(mode string) string {
	return b.resolve(mode, func(t *slot) string {
		if c := t.stays(); c != nil {
			return c.ID
		}
		return t.id
	})
}

func (b *up) resolve(mode string, id func(*slot) string) string {
	if name, ok := strings.CutPrefix(mode, "container:"); ok {
		if c, ok := b.s.Names[name]; ok {
			return "container:" + c.ID
		}
		return mode
	}
	name, ok := strings.CutPrefix(mode, "service:")
	if !ok {
		return mode
	}
	if w := b.work[name]; w != nil {
		if len(w.slots) > 0 {
			return "container:" + id(w.slots[0])
		}
		return mode
	}
	// The service is not part of this plan (--no-deps).
	var first *Container
	for i := range b.s.Containers {
		c := &b.s.Containers[i]
		if c.Service == name && !c.OneOff && (first == nil || c.Number < first.Number) {
			first = c
		}
	}
	if first == nil {
		return mode
	}
	return "container:" + first.ID
}

// volumesFrom turns each "service:X[:MODE]" into "ID[:MODE]" as resolve does. What names nothing to be found stays as it is.
func (b *up) volumesFrom(svc *project.Service, resolve func(mode string) string) []string {
	var out []string
	for _, from := range svc.HostConfig.VolumesFrom {
		owner, mode := cutMode(from)
		if id, ok := strings.CutPrefix(resolve(owner), "container:"); ok {
			from = id + mode
		}
		out = append(out, from)
	}
	return out
}

// cutMode splits "service:X:MODE" into "service:X" and ":MODE" or "".
func cutMode(from string) (owner, mode string) {
	name, mode, ok := strings.Cut(strings.TrimPrefix(from, "service:"), ":")
	if ok {
		mode = ":" + mode
	}
	return "service:" + name, mode
}
