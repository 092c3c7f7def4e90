package containerd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// maxOperations is how many runc operations one shim carries out at a time.
// Beyond about ten its reaper falls behind and operations take seconds.
const maxOperations = 8

// groups are the shims that tasks share, by the group's name. The zero value
// is empty.
type groups struct {
	mu     sync.Mutex
	byName map[string]*group
	byTask map[string]*group // nil for a task that has its shim to itself
}

func (g *groups) named(name string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byName == nil {
		g.byName, g.byTask = map[string]*group{}, map[string]*group{}
	}
	if g.byName[name] == nil {
		g.byName[name] = newGroup(name)
	}
	return g.byName[name]
}

// group is one shim that the tasks of a project share.
//
//	no shim ──create──▶ starting ──▶ running ──last delete──▶ no shim
//	   ▲                   │ error      │ shim found dead
//	   └───────────────────┴────────────┘
//
// A shim ends when a deletion leaves it without tasks. So a deletion that may
// be the last waits while another task is being created in the shim, and a
// creation waits while the last task is being deleted. Neither waits for one
// that waits: who waits is not counted yet.
type group struct {
	name  string
	slots chan struct{}

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	address  string        // the running shim's, ttrpc+unix://…
	starting bool
	members  map[string]struct{} // tasks in the shim that nobody deletes
	creating int
	deleting int
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

// join enters a task that is about to be created. An empty address makes the
// caller the one who starts the shim. created must follow.
func (g *group) join(ctx context.Context) (address string, err error) {
	err = g.wait(ctx, "its shim to start or end", func() bool {
		return g.starting || len(g.members) == 0 && g.creating == 0 && g.deleting > 0
	})
	if err != nil {
		return "", err
	}
	defer g.unlock()
	if g.address != "" && !answers(g.address) {
		// Killed: all that lived in it is dead.
		g.address = ""
		clear(g.members)
	}
	g.creating++
	g.starting = g.address == ""
	return g.address, nil
}

// created ends what join began. address is where the task lives, "" when it
// was not created.
func (g *group) created(id, address string, started bool) {
	g.mu.Lock()
	defer g.unlock()
	g.creating--
	if started {
		g.starting = false
		g.address = address
	}
	if address != "" {
		g.members[id] = struct{}{}
	} else if g.idle() {
		g.address = "" // nothing holds the shim any more
	}
}

// leave enters a task that is about to be deleted. deleted must follow.
func (g *group) leave(ctx context.Context, id string) error {
	err := g.wait(ctx, "a task to be created in its shim", func() bool {
		_, in := g.members[id]
		rest := len(g.members)
		if in {
			rest--
		}
		return rest == 0 && g.creating > 0
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
	} else if g.idle() {
		g.address = ""
	}
}

func (g *group) idle() bool { return len(g.members) == 0 && g.creating == 0 && g.deleting == 0 }

// adopt enters a task that was found running.
func (g *group) adopt(id, address string) {
	g.mu.Lock()
	defer g.unlock()
	if g.address == "" {
		g.address = address
	}
	// A task in another shim of the same group (its creation was interrupted
	// before the shim was known) does not keep this one alive.
	if g.address == address {
		g.members[id] = struct{}{}
	}
}

// operate takes one of the shim's slots. A nil group has no limit.
func (g *group) operate(ctx context.Context) (done func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("group %q: waiting for its shim's other operations: %w", g.name, ctx.Err())
	}
}

// answers tells whether somebody listens at a shim's address.
func answers(address string) bool {
	_, path, ok := strings.Cut(address, "unix://")
	if !ok {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// groupOf returns the group of a container's task, nil when it has none.
func (r *Runtime) groupOf(ctx context.Context, id string) (*group, error) {
	r.groups.mu.Lock()
	g, known := r.groups.byTask[id]
	r.groups.mu.Unlock()
	if known {
		return g, nil
	}
	c, err := r.client.ContainerService().Get(ctx, id)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("container %q: %w", id, err)
	}
	return r.remember(id, c.Labels[labelGroup]), nil
}

func (r *Runtime) remember(id, name string) *group {
	g := r.groups.named(name)
	if name == "" {
		g = nil
	}
	r.groups.mu.Lock()
	defer r.groups.mu.Unlock()
	r.groups.byTask[id] = g
	return g
}

func (r *Runtime) forget(id string) {
	r.groups.mu.Lock()
	defer r.groups.mu.Unlock()
	delete(r.groups.byTask, id)
}
