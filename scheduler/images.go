package scheduler

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
)

// imageNeed is what a service's image needs.
type imageNeed struct {
	absent   bool   // there is none
	newer    bool   // the registry has another one, which is wanted
	ask      bool   // wanted, and nobody knows yet whether it is another one
	optional bool   // what is there will do when the registry gives nothing
	build    string // why it is built, "" when it is not
}

// unsure says that what the image declares is not known yet.
func (n imageNeed) unsure() bool { return n.absent || n.newer || n.ask || n.build != "" }

// findImage decides by the service's pull policy.
//
//	policy    image absent   image present
//	missing   pull           –
//	never     error          –
//	always    pull           pull when the registry has another digest
//	refresh   pull           likewise, when the last pull is older than its age
//	build     build          build
//
// The image of a service with the key build is built when it is absent and its
// registry does not give it, or when the user gave it no name; with --build it
// is built in any case. Source: compose build specification, "Using build and
// image".
func (b *up) findImage(w *work) {
	image := b.s.image(w.svc)
	policy, age := pullPolicy(w.svc, b.o.Pull)
	builds := w.svc.Build != nil && !b.o.Builds.Never
	given := w.svc.ImageGiven || w.svc.Build == nil
	w.image.absent = image.ID == ""
	switch {
	case builds && b.o.Builds.Always:
		w.image.build = "--build"
		return
	case builds && policy == project.PullBuild:
		w.image.build = "pull policy"
		return
	case w.image.absent:
		if builds && (!given || policy == project.PullNever || image.Err != nil) {
			w.image.build = "not present"
		}
		return
	case !given || policy != project.PullAlways && policy != project.PullRefresh:
		return
	case policy == project.PullRefresh && b.o.Now.Sub(image.Pulled) < age:
		return
	}
	w.image.optional = policy == project.PullRefresh || builds
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

// shareImages has services with one image agree: what one of them has built, none
// pulls, and all are replaced if it becomes another one.
func (b *up) shareImages() {
	builds := make(map[ImageQuery]string)
	for _, w := range b.order {
		if key := imageKey(w.svc); w.image.build != "" && builds[key] == "" {
			builds[key] = w.image.build
		}
	}
	for _, w := range b.order {
		if cause := builds[imageKey(w.svc)]; cause != "" && w.svc.Build != nil {
			w.image.build, w.image.newer, w.image.ask = cause, false, false
		}
	}
}

// pull drafts the pull or the build of a service's image, once for all that use
// it.
func (b *up) pull(w *work) {
	creates := slices.ContainsFunc(w.slots, func(t *slot) bool { return t.keep == nil })
	if w.image.build != "" {
		if creates || w.image.build != "not present" {
			b.built(w.svc, rank{groupImages, w.index}, w.image.build)
		}
		return
	}
	force := w.image.newer || w.image.ask
	if !force && !(w.image.absent && creates) {
		return
	}
	cause := "not present"
	switch {
	case w.image.newer:
		cause = "newer image"
	case w.image.ask:
		cause = "pull policy"
	}
	key := imageKey(w.svc)
	n := b.images[key]
	if n == nil {
		n = b.add(rank{groupImages, w.index}, PullImage{
			Ref: w.svc.Image, Platform: w.svc.Platform, Force: force, Optional: w.image.optional,
		}, cause)
		b.images[key] = n
	}
	a, ok := n.Action.(PullImage)
	if !ok { // it is built
		return
	}
	a.Services = append(a.Services, w.svc.Name)
	a.Force = a.Force || force
	a.Optional = a.Optional && w.image.optional
	n.Action = a
}

// mounted drafts the pulls of the images that a service's new containers mount,
// unless another service's need brings them.
func (b *up) mounted(w *work) {
	if !slices.ContainsFunc(w.slots, func(t *slot) bool { return t.create != nil || t.keep == nil }) {
		return
	}
	for _, m := range w.svc.HostConfig.Mounts {
		key := ImageQuery{Ref: m.Source}
		if m.Type != mount.TypeImage || b.s.Images[m.Source].ID != "" || b.images[key] != nil {
			continue
		}
		b.images[key] = b.add(rank{groupImages, w.index}, PullImage{Ref: m.Source, Services: []string{w.svc.Name}}, "mounted by "+w.svc.Name)
	}
}

// built drafts a build, after those of the images that it begins with where
// they are due.
func (b *up) built(svc *project.Service, r rank, cause string) *node {
	return builder{&b.draft, b.p, b.o.Seed, b.o.Builds.Sessions, b.images, func(dep *project.Service) string {
		policy, _ := pullPolicy(dep, b.o.Pull)
		switch {
		case b.o.Builds.Always:
			return "--build"
		case policy == project.PullBuild:
			return "pull policy"
		case b.s.image(dep).ID == "":
			return "for " + svc.Name
		}
		return ""
	}, true}.add(svc, r, cause)
}

// builder drafts builds, each image once.
type builder struct {
	draft    *draft
	p        *project.Project
	seed     string
	sessions map[string]string
	images   map[ImageQuery]*node
	due      func(svc *project.Service) string // why an image to begin with is built, "" when it is not
	toRun    bool                              // for one platform
}

func (b builder) add(svc *project.Service, r rank, cause string) *node {
	key := imageKey(svc)
	n := b.images[key]
	if n == nil {
		build := *svc.Build
		build.Contexts = maps.Clone(build.Contexts)
		sum := sha256.Sum256(fmt.Appendf(nil, "%q build %q", b.seed, svc.Image))
		n = b.draft.add(r, nil, cause)
		b.images[key] = n
		var own []string
		for _, name := range sorted(build.Contexts) {
			from, ok := strings.CutPrefix(build.Contexts[name], "service:")
			dep, known := b.p.Service(from)
			if !ok || !known {
				continue
			}
			build.Contexts[name] = "docker-image://" + dep.Image
			own = append(own, name)
			if why := b.due(dep); dep.Build != nil && why != "" {
				n.need(b.add(dep, r, why))
			} else {
				n.need(b.images[imageKey(dep)])
			}
		}
		n.Action = BuildImage{ID: hex.EncodeToString(sum[:])[:25], Ref: svc.Image, Session: b.sessions[svc.Name], Build: build, Own: own, Platform: svc.Platform, ToRun: b.toRun}
	}
	if a, ok := n.Action.(BuildImage); ok && !slices.Contains(a.Services, svc.Name) {
		a.Services = append(a.Services, svc.Name)
		n.Action = a
	}
	return n
}

func imageKey(svc *project.Service) ImageQuery {
	return ImageQuery{Ref: svc.Image, Platform: svc.Platform}
}

// BuildImages plans the builds of the services' images, and of those that they
// begin with.
func BuildImages(p *project.Project, s *State, o ImageOptions) (*Plan, error) {
	v := newVerb(p.Name, p, s)
	v.known(o.Services)
	chosen := choose(v.g, o.Services, len(o.Services) > 0 && !o.WithDeps)
	build := builder{&v.draft, p, o.Seed, o.Sessions, make(map[ImageQuery]*node), func(*project.Service) string { return "build" }, false}
	for i := range p.Services {
		svc := &p.Services[i]
		switch {
		case !chosen[svc.Name]:
		case svc.Build != nil:
			build.add(svc, rank{groupImages, i}, "build")
		case slices.Contains(o.Services, svc.Name):
			v.refuse(position(svc, "image"), errdefs.ErrInvalidArgument, "service %q has no key build", svc.Name)
		}
	}
	return v.plan()
}

// image is what is known of the image that a service uses.
func (s *State) image(svc *project.Service) Image { return s.Images[imageKey(svc).Key()] }
