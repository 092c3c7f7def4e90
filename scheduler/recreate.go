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
	// the registry has a newer image, which this plan pulls
	func(_ *up, w *work, _ *Container) string {
		if w.image.newer {
			return "newer image"
		}
		return ""
	},
	// the image's name means another image than when the container was created
	func(b *up, w *work, c *Container) string {
		if id := b.s.Images[w.svc.Image].ID; id != "" && c.ImageID != "" && id != c.ImageID {
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
			if want := b.resolveMode(mode); strings.HasPrefix(want, "container:") && want != c.modes()[i] {
				return fmt.Sprintf("%s was replaced", mode)
			}
		}
		return ""
	},
	// the container whose volumes it mounts is replaced
	func(b *up, w *work, c *Container) string {
		if want := b.volumesFrom(w.svc); !slices.Equal(want, c.VolumesFrom) {
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
			return "container:" + w.slots[0].id
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

// volumesFrom turns each "service:X[:MODE]" into "ID[:MODE]" as resolveMode
// does. What names nothing to be found stays as it is.
func (b *up) volumesFrom(svc *project.Service) []string {
	var out []string
	for _, from := range svc.HostConfig.VolumesFrom {
		owner, mode := cutMode(from)
		if id, ok := strings.CutPrefix(b.resolveMode(owner), "container:"); ok {
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

// imageNeed is what a service's image needs.
type imageNeed struct {
	absent   bool // there is none
	newer    bool // the registry has another one, which is wanted
	ask      bool // wanted, and nobody knows yet whether it is another one
	optional bool // what is there will do when the registry gives nothing
}

// findImage decides by the service's pull policy.
//
//	policy    image absent   image present
//	missing   pull           –
//	never     error          –
//	always    pull           pull when the registry has another digest
//	refresh   pull           likewise, when the last pull is older than its age
func (b *up) findImage(w *work) {
	image := b.s.Images[w.svc.Image]
	policy, age := pullPolicy(w.svc, b.o.Pull)
	switch {
	case image.ID == "":
		w.image.absent = true
		return
	case policy != project.PullAlways && policy != project.PullRefresh:
		return
	case policy == project.PullRefresh && b.o.Now.Sub(image.Pulled) < age:
		return
	}
	w.image.optional = policy == project.PullRefresh
	switch {
	case image.Err != nil && w.image.optional:
		b.warn("service %q: image %q is due for a refresh, but its registry does not give it: %v", w.svc.Name, w.svc.Image, image.Err)
	case image.Err != nil:
		b.refuse(position(w.svc, "pull_policy", "image"), image.Err, "service %q: image %q cannot be pulled: %v", w.svc.Name, w.svc.Image, image.Err)
	case image.Remote == "":
		w.image.ask = true
	case image.Remote != image.ID:
		w.image.newer = true
	}
}
