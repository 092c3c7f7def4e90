package scheduler

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"gantry/project"

	"github.com/moby/moby/api/types/container"
)

// fill decides which containers the service's places get.
//
//	containers of one number        → the place
//	none                            → new
//	one or more, one up to date     → that one stays, the others go
//	one or more, none up to date    → new, in the place of the newest
//
// More than one container has a number only when a replacement was
// interrupted, so this also completes what was begun.
func (b *up) fill(w *work) {
	groups := make(map[int][]*Container)
	for i := range b.s.Containers {
		if c := &b.s.Containers[i]; c.Service == w.svc.Name && !c.OneOff {
			groups[c.Number] = append(groups[c.Number], c)
		}
	}
	want := replicas(w.svc, b.o.Scale)
	if want > 1 && w.svc.ContainerName != "" {
		b.fixedName(w, want)
	}
	for _, number := range sorted(groups) {
		if len(w.slots) < want {
			w.slots = append(w.slots, b.settle(w, number, groups[number]))
			continue
		}
		w.surplus = append(w.surplus, &slot{number: number, old: groups[number], cause: fmt.Sprintf("scaled to %d", want)})
	}
	for number := 1; len(w.slots) < want; number++ {
		if len(groups[number]) > 0 {
			continue
		}
		w.slots = append(w.slots, &slot{
			number: number, name: containerName(b.p.Name, w.svc, number),
			id: b.id(w.svc.Name, number, "up"), cause: "new",
		})
	}
	slices.SortStableFunc(w.slots, func(a, b *slot) int { return a.number - b.number })
}

// settle gives a place to one of the containers that have its number, or to a
// new one.
func (b *up) settle(w *work, number int, group []*Container) *slot {
	sortNewest(group)
	t := &slot{number: number, name: containerName(b.p.Name, w.svc, number)}
	for _, c := range group {
		switch c.Status {
		case container.StateDead, container.StateRemoving:
			if t.cause == "" {
				t.cause = "its removal was interrupted"
			}
			continue
		}
		why := b.whyRecreate(w, c)
		if why == "" {
			t.keep, t.id, t.cause = c, c.ID, ""
			break
		}
		if t.cause == "" {
			t.cause = why
		}
	}
	if t.keep == nil {
		t.base, t.old, t.id, t.replaced = group[0], group, b.id(w.svc.Name, number, "up"), surely
		return t
	}
	if maybe := b.doubts(w, t.keep); len(maybe.onlyIf) > 0 {
		t.base, t.old, t.id, t.replaced, t.keep, t.cause = t.keep, group, b.id(w.svc.Name, number, "up"), maybe, nil, "image changed"
		if t.base.Owes > 0 { // whether the hooks are to run in this one is not known either
			t.replaced, t.cause = surely, "post_start was not done"
		}
		return t
	}
	for _, c := range group {
		if c != t.keep {
			t.old = append(t.old, c)
		}
	}
	if len(t.old) > 0 {
		t.cause = "its replacement was interrupted"
	}
	return t
}

// sortNewest puts a replacement before what it was made to replace; beyond
// that, what runs comes first.
func sortNewest(group []*Container) {
	replaces := func(c, d *Container) bool {
		return c.Config.Labels[project.LabelReplace] == d.ID || strings.HasPrefix(c.Name, replacementPrefix(d.ID))
	}
	depth := make(map[*Container]int, len(group))
	for range group { // a chain is at most as long as the group
		for _, c := range group {
			for _, d := range group {
				if c != d && replaces(c, d) && depth[c] <= depth[d] && depth[d] < len(group) {
					depth[c] = depth[d] + 1
				}
			}
		}
	}
	slices.SortStableFunc(group, func(a, b *Container) int {
		if d := depth[b] - depth[a]; d != 0 {
			return d
		}
		if runs(a) != runs(b) {
			if runs(a) {
				return -1
			}
			return 1
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// replacementPrefix begins the name of the container that takes id's place,
// until id is gone and the name is free.
func replacementPrefix(id string) string {
	if id == "" {
		return ""
	}
	return short(id) + "_"
}

// id is a new container's ID: 64 hex digits that the seed and the place decide.
func (b *up) id(service string, number int, purpose string) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d %q", b.o.Seed, b.p.Name, service, number, purpose))
	return hex.EncodeToString(h[:])
}

// spreadRestarts restarts the containers that stay of services which depend,
// with restart: true, on a service that is replaced or restarted itself.
// Source: compose specification, depends_on, restart.
//
// As with Docker Compose they stop before their dependency does and start
// after it: a plan that breaks off in between leaves them stopped, so that the
// next one starts them.
func (b *up) spreadRestarts() {
	if b.o.NoStart {
		return
	}
	type touch struct {
		what string
		when doubt
	}
	why := make(map[string]touch) // service to what happens to it
	note := func(service, what string, when doubt) {
		t := why[service]
		if t.what == "" || what == "replaced" {
			t.what = what
		}
		why[service] = touch{t.what, t.when.or(when)}
	}
	for _, w := range b.order {
		if w.oneOff {
			continue
		}
		for _, d := range b.g.deps[w.svc.Name] {
			is, touched := why[d.Service]
			if !d.Restart || !touched {
				continue
			}
			for _, t := range w.slots {
				c := t.stays()
				if c == nil || !runs(c) {
					continue
				}
				if t.restart == "" {
					t.restart = fmt.Sprintf("depends_on %s: restart: true, and it is %s", d.Service, is.what)
				}
				t.restarted = t.restarted.or(is.when)
				if c.Owes > 0 { // whether its hooks are to run without a restart is not known
					t.restarted = surely
				}
			}
		}
		for _, t := range w.slots {
			switch {
			case t.keep == nil && t.base != nil:
				note(w.svc.Name, "replaced", t.replaced.or(t.restarted))
			case t.restart != "":
				note(w.svc.Name, "restarted", t.restarted)
			}
		}
	}
}

// findStarts decides which containers that stay have to be started.
//
// Docker Compose starts everything that does not run at every `up`, one-shot
// services included, so that its second `up` does their work again. Here a
// container that ended with 0 and that others wait for with
// service_completed_successfully has done its work: it runs again only when
// one of those others is about to start, as that one may only start after it.
func (b *up) findStarts() {
	if b.o.NoStart {
		return
	}
	for i := len(b.order) - 1; i >= 0; i-- { // dependants first
		w := b.order[i]
		awaited, due, when := b.awaited(w)
		for _, t := range w.slots {
			c := t.stays()
			if c == nil || t.restart != "" && len(t.restarted.onlyIf) == 0 {
				continue
			}
			switch c.Status {
			case container.StatePaused:
				t.unpause = true
			case container.StateCreated:
				t.start, t.starts = "created, never started", surely
			case container.StateExited:
				switch {
				case c.ExitCode != 0 || !awaited:
					t.start, t.starts = fmt.Sprintf("exited (%d)", c.ExitCode), surely
				case due != "":
					t.start, t.starts = fmt.Sprintf("%s is about to start", due), when
				}
			}
		}
	}
}

// awaited says whether a chosen service waits for w to complete, and which one
// of them starts a container in this plan, and when.
func (b *up) awaited(w *work) (awaited bool, due string, when doubt) {
	for _, x := range b.order {
		if !slices.ContainsFunc(x.svc.DependsOn, func(d project.Dependency) bool {
			return d.Service == w.svc.Name && d.Condition == project.Completed
		}) {
			continue
		}
		awaited = true
		for _, t := range x.slots {
			if began := t.began(); began.happens {
				due = cmp.Or(due, x.svc.Name)
				when = when.or(began)
			}
		}
	}
	return awaited, due, when
}
