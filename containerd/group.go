package containerd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// maxOperations is how many runc operations one shim carries out at a time.
// Beyond about ten its reaper falls behind and operations take seconds.
const maxOperations = 8

// maxLone is how many containers that belong to no project share a shim. A shim
// takes some 15 MB, of which few are its containers'; one that is killed takes
// its containers with it, so that their number has a bound.
const maxLone = 8

// linger is how long a shim of lone containers stays after the last of them, so
// that one after another costs one start of a shim.
const linger = 2 * time.Second

// groups are the shims that tasks live in. The zero value is empty.
type groups struct {
	mu     sync.Mutex
	byName map[string]*group
	byTask map[string]*group
}

// of returns the group of a container, which is its own if it has no name.
func (g *groups) of(id, name string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ofLocked(id, name)
}

func (g *groups) ofLocked(id, name string) *group {
	if g.byName == nil {
		g.byName, g.byTask = map[string]*group{}, map[string]*group{}
	}
	if g.byTask[id] == nil {
		if name == "" {
			name = "container " + id
		}
		if g.byName[name] == nil {
			g.byName[name] = newGroup(name)
		}
		g.byTask[id] = g.byName[name]
	}
	return g.byTask[id]
}

// loneName names the groups of lone containers; no project has a blank in it.
const loneName = "lone "

// lone enters a container that belongs to no project into the first group of
// such that has room, and returns the group's name.
func (g *groups) lone(id string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	sizes := map[*group]int{}
	for _, x := range g.byTask {
		sizes[x]++
	}
	for i := 0; ; i++ {
		name := fmt.Sprint(loneName, i)
		if sizes[g.byName[name]] < maxLone {
			return g.ofLocked(id, name).name
		}
	}
}

func (g *groups) known(id string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byTask[id]
}

// pids are the processes of the running shims.
func (g *groups) pids() map[int]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	pids := map[int]bool{}
	for _, x := range g.byName {
		x.mu.Lock()
		for _, s := range x.shims() {
			pids[s.process()] = true
		}
		x.mu.Unlock()
	}
	return pids
}

// release lets go of all shims, which run on unless they are idle.
func (g *groups) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.byName {
		x.mu.Lock()
		if x.idleLocked() {
			x.shim.end()
			x.shim = nil
		}
		for _, s := range x.shims() {
			s.release()
		}
		x.shim, x.others = nil, nil
		x.mu.Unlock()
	}
}

// forget drops a container that is gone, and its group with the last one. What
// lone containers share stays: a next one takes it up.
func (g *groups) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.byTask[id]
	delete(g.byTask, id)
	if was == nil || was.linger > 0 {
		return
	}
	for _, other := range g.byTask {
		if other == was {
			return
		}
	}
	if g.byName[was.name] == was {
		delete(g.byName, was.name)
	}
}

// group is one shim, which the tasks of a project share, or some lone ones.
//
//	no shim ──create──▶ starting ──▶ running ──idle──▶ ending ──▶ no shim
//	   ▲                   │ error      │ found dead
//	   └───────────────────┴────────────┘
//
// A shim stays without tasks until it is told to end, which it is after the
// last deletion, or some time after it. Creations wait while it starts or ends.
type group struct {
	name   string
	linger time.Duration // how long the shim stays when it is idle
	slots  chan struct{}

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	shim     process       // nil when none runs
	others   []process     // adopted ones that are not joined any more
	starting bool
	ending   bool
	members  map[string]struct{} // tasks in the shim that nobody deletes
	creating int
	deleting int
	used     int // how many tasks were to be created; tells idle times apart
}

// process is a running shim, as a group sees it.
type process interface {
	address() string // ttrpc+unix://…
	process() int    // its pid, 0 when not known
	alive() bool
	end()     // has it end, waits for that, for a bounded time, and removes what it leaves
	release() // forgets it; it runs on
}

func newGroup(name string) *group {
	g := &group{name: name, slots: make(chan struct{}, maxOperations), changed: make(chan struct{}), members: map[string]struct{}{}}
	if strings.HasPrefix(name, loneName) {
		g.linger = linger
	}
	return g
}

// wait waits until the condition, which is read under the lock, does not hold.
// It returns with the lock held unless it fails.
func (g *group) wait(ctx context.Context, what string, holds func() bool) error {
	for {
		g.mu.Lock()
		if !holds() {
			return nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("group %q: waiting for %s: %w", g.name, what, ctx.Err())
		}
	}
}

// unlock tells those who wait to look again.
func (g *group) unlock() {
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
}

// join enters a task that is about to be created, in the shim that is
// returned; without one the caller is to start it. created must follow.
func (g *group) join(ctx context.Context) (process, error) {
	err := g.wait(ctx, "its shim to start or end", func() bool {
		return g.starting || g.ending
	})
	if err != nil {
		return nil, err
	}
	if g.shim != nil && !g.shim.alive() {
		// Killed: all that lived in it is dead. Those who are creating tasks
		// in it will find out.
		clear(g.members)
		g.endLocked()
	}
	defer g.unlock()
	g.creating++
	g.used++
	g.starting = g.shim == nil
	return g.shim, nil
}

// created ends what join began. in is where the task lives, nil when it was
// not created.
func (g *group) created(id string, in process, started bool) {
	g.mu.Lock()
	defer g.unlock()
	g.creating--
	if started {
		g.starting = false
		g.shim = in
	}
	if in != nil && g.shim == in {
		g.members[id] = struct{}{}
	}
	g.endIdleLocked()
}

// leave enters a task that is about to be deleted. deleted must follow.
func (g *group) leave(id string) {
	g.mu.Lock()
	defer g.unlock()
	delete(g.members, id)
	g.deleting++
}

// deleted ends what leave began; gone is false when the task is still there.
func (g *group) deleted(id string, gone bool) {
	g.mu.Lock()
	defer g.unlock()
	g.deleting--
	if !gone {
		g.members[id] = struct{}{}
	}
	g.endIdleLocked()
}

// endIdleLocked sees to the end of a shim that has nothing left, at once or
// when it is still so after a while.
func (g *group) endIdleLocked() {
	switch used := g.used; {
	case !g.idleLocked():
	case g.linger == 0:
		g.endLocked()
	default:
		time.AfterFunc(g.linger, func() {
			g.mu.Lock()
			defer g.unlock()
			if g.used == used && g.idleLocked() {
				g.endLocked()
			}
		})
	}
}

func (g *group) idleLocked() bool {
	return g.shim != nil && len(g.members) == 0 && g.creating == 0 && g.deleting == 0
}

// endLocked ends the shim, without the lock.
func (g *group) endLocked() {
	s := g.shim
	g.shim, g.ending = nil, true
	g.mu.Unlock()
	s.end()
	g.mu.Lock()
	g.ending = false
}

// adopt enters a task that was found in a running shim.
func (g *group) adopt(id string, in process) {
	g.mu.Lock()
	defer g.unlock()
	if g.shim == nil {
		g.shim = in
	}
	// A task in another shim of the same group (its daemon was killed before it
	// knew the first) does not keep this one alive.
	switch {
	case g.shim.address() == in.address():
		g.members[id] = struct{}{}
	case !slices.Contains(g.others, in):
		g.others = append(g.others, in)
	}
}

func (g *group) shims() []process {
	if g.shim == nil {
		return g.others
	}
	return append([]process{g.shim}, g.others...)
}

// operate takes one of the shim's slots.
func (g *group) operate(ctx context.Context) (done func(), err error) {
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("group %q: waiting for its shim's other operations: %w", g.name, ctx.Err())
	}
}

// groupOf returns the group of a container. ErrNotFound.
func (r *Runtime) groupOf(ctx context.Context, id string) (*group, error) {
	if g := r.groups.known(id); g != nil {
		return g, nil
	}
	c, err := r.client.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", id, err)
	}
	return r.groups.of(id, c.Labels[labelGroup]), nil
}
