package containerd

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/containerd/errdefs"
)

// maxOperations is how many runc operations one shim carries out at a time.
// Beyond about ten its reaper falls behind and operations take seconds.
const maxOperations = 8

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
	if g.byName == nil {
		g.byName, g.byTask = map[string]*group{}, map[string]*group{}
	}
	if g.byTask[id] == nil {
		if name == "" {
			g.byTask[id] = newGroup("container " + id)
		} else {
			if g.byName[name] == nil {
				g.byName[name] = newGroup(name)
			}
			g.byTask[id] = g.byName[name]
		}
	}
	return g.byTask[id]
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
	for _, x := range g.byTask {
		x.mu.Lock()
		for _, s := range x.shims() {
			pids[s.process()] = true
		}
		x.mu.Unlock()
	}
	return pids
}

// release lets go of all shims, which run on.
func (g *groups) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.byTask {
		x.mu.Lock()
		for _, s := range x.shims() {
			s.release()
		}
		x.shim, x.others = nil, nil
		x.mu.Unlock()
	}
}

// forget drops a container that is gone, and its group with the last one.
func (g *groups) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.byTask[id]
	delete(g.byTask, id)
	for _, other := range g.byTask {
		if other == was {
			return
		}
	}
	if was != nil && g.byName[was.name] == was {
		delete(g.byName, was.name)
	}
}

// group is one shim, which the tasks of a project share, or which a single
// task has to itself.
//
//	no shim ──create──▶ starting ──▶ running ──last delete──▶ ending ──▶ no shim
//	   ▲                   │ error      │ found dead
//	   └───────────────────┴────────────┘
//
// A shim ends when a deletion leaves it without tasks, and does not answer what
// it is asked meanwhile. So a deletion that may be the last waits while others
// are being created or deleted in the shim, and a creation waits while the last
// is being deleted. None waits for one that waits: who waits is not counted yet.
type group struct {
	name  string
	slots chan struct{}

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	shim     process       // nil when none runs
	others   []process     // adopted ones that are not joined any more
	starting bool
	ending   bool
	members  map[string]struct{} // tasks in the shim that nobody deletes
	creating int
	deleting int
}

// process is a running shim, as a group sees it.
type process interface {
	address() string // ttrpc+unix://…
	process() int    // its pid, 0 when not known
	alive() bool
	end()     // waits, for a bounded time, until it has ended, and removes what it leaves
	release() // forgets it; it runs on
}

func newGroup(name string) *group {
	return &group{name: name, slots: make(chan struct{}, maxOperations), changed: make(chan struct{}), members: map[string]struct{}{}}
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
		return g.starting || g.ending || len(g.members) == 0 && g.creating == 0 && g.deleting > 0
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
func (g *group) leave(ctx context.Context, id string) error {
	err := g.wait(ctx, "other tasks to be created or deleted in its shim", func() bool {
		_, in := g.members[id]
		rest := len(g.members)
		if in {
			rest--
		}
		return g.ending || rest == 0 && (g.creating > 0 || g.deleting > 0)
	})
	if err != nil {
		return err
	}
	defer g.unlock()
	delete(g.members, id)
	g.deleting++
	return nil
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

// endIdleLocked sees to the end of a shim that has nothing left.
func (g *group) endIdleLocked() {
	if g.shim != nil && len(g.members) == 0 && g.creating == 0 && g.deleting == 0 {
		g.endLocked()
	}
}

// endLocked waits for the shim's end, without the lock.
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
