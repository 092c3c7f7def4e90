package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ctr is one container in memory. Lifecycle operations (start, stop, remove,
// restart) exclude each other through op; reading and signalling never wait
// for them.
type ctr struct {
	id  string
	dir string
	op  chan struct{} // holds one token while no lifecycle operation runs

	mu      sync.Mutex
	rec     record
	st      state
	run     *run             // the current run; nil when there is no process
	changed chan struct{}    // closed and replaced at every change of st
	exits   int              // how many runs have ended
	gone    bool             // removed
	removal int              // how many removals are under way
	pending []*pendingAttach // streams that wait for the next start
	restart *restarter       // the start that a policy has scheduled
	backOff time.Duration    // the last wait before a policy's restart
	last    runEnd           // how the latest run ended
	process *specs.Process   // of the runtime spec, for execs; nil until needed
	synced  *wish            // what is on disk for good; nil when nothing is
	// interrupted says that the container was running, or about to, when its
	// daemon went away, and does not now: Recover decides.
	interrupted bool
}

// run is one life of a container's process.
type run struct {
	pid      int
	started  chan struct{} // closed when the runtime has answered the start
	ended    chan struct{} // closed when the process is gone and all of it is cleaned up
	stopping bool          // somebody asked it to end: no policy applies
	dead     bool          // the process is gone; what it leaves is being cleaned up
	keep     bool          // its end is no reason to remove the container
	oom      bool
	health   *monitor // nil without a health check
}

// runEnd tells how a run ended, for those who diagnose crash loops.
type runEnd struct {
	at   time.Time
	ran  time.Duration
	code int
}

// restarter is a scheduled start that can be called off.
type restarter struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newCtr(rec record, st state, dir string) *ctr {
	c := &ctr{id: rec.ID, dir: dir, rec: rec, st: st, op: make(chan struct{}, 1), changed: make(chan struct{})}
	c.op <- struct{}{}
	return c
}

// lock takes the right to change the container's life, until unlock.
func (c *ctr) lock(ctx context.Context) error {
	select {
	case <-c.op:
		return nil
	default:
	}
	select {
	case <-c.op:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("container %q: waiting for another operation on it: %w", c.name(), context.Cause(ctx))
	}
}

func (c *ctr) unlock() { c.op <- struct{}{} }

func (c *ctr) name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec.Name
}

func (c *ctr) record() record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec
}

func (c *ctr) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.st
}

// current returns the run that is under way, or an error that says why there
// is none.
func (c *ctr) current() (*run, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil || c.run.dead || !c.st.alive() {
		if c.st.Status == container.StateRestarting {
			return nil, fmt.Errorf("Container %s is restarting, wait until the container is running: %w", c.id, errdefs.ErrFailedPrecondition)
		}
		return nil, fmt.Errorf("container %s is not running: %w", c.id, errdefs.ErrFailedPrecondition)
	}
	return c.run, nil
}

// update changes the state, writes it and wakes those who wait for a change.
// A state that cannot be written is still the truth: the error is returned for
// the log, and the next change writes it again.
func (c *ctr) update(f func(*state)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.st)
	return c.saveLocked()
}

func (c *ctr) saveLocked() error {
	close(c.changed)
	c.changed = make(chan struct{})
	if c.gone {
		return nil
	}
	path, now := filepath.Join(c.dir, "state.json"), c.st.wish()
	// What the next boot goes by is written for good; nobody starts a container
	// without a policy, and one that only runs and goes does not wait for the disk.
	if c.rec.HostConfig.RestartPolicy.IsNone() || c.synced != nil && *c.synced == now {
		return writeJSON(path, &c.st)
	}
	if err := writeDurably(path, &c.st); err != nil {
		return err
	}
	c.synced = &now
	return nil
}

// await blocks until done says so of the container's state, or ctx ends. done
// is called with the container locked.
func (c *ctr) await(ctx context.Context, done func() (bool, error)) error {
	for {
		c.mu.Lock()
		ok, err := done()
		changed := c.changed
		c.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *ctr) logPath() string { return filepath.Join(c.dir, c.id+"-json.log") }

// WaitContainer returns a channel that gets the container's exit code once it
// is not running, has ended a run from now on, or is removed. The wait is
// registered when WaitContainer returns; it ends with ctx.
func (e *Engine) WaitContainer(ctx context.Context, ref string, cond container.WaitCondition) (<-chan container.WaitResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	exits := c.exits
	c.mu.Unlock()
	var done func() bool
	switch cond {
	case "", container.WaitConditionNotRunning:
		done = func() bool { return !c.st.alive() && c.st.Status != container.StateRestarting || c.gone }
	case container.WaitConditionNextExit:
		done = func() bool { return c.exits > exits || c.gone }
	case container.WaitConditionRemoved:
		done = func() bool { return c.gone }
	default:
		return nil, fmt.Errorf("invalid condition: %q: %w", cond, errdefs.ErrInvalidArgument)
	}
	out := make(chan container.WaitResponse, 1)
	go func() {
		defer close(out)
		code := 0
		// the code is taken with the condition: the next run starts without one
		err := c.await(ctx, func() (bool, error) {
			code = c.st.ExitCode
			if c.exits > exits && c.st.alive() {
				code = c.last.code
			}
			return done(), nil
		})
		if err != nil {
			out <- container.WaitResponse{StatusCode: -1, Error: &container.WaitExitError{Message: err.Error()}}
			return
		}
		out <- container.WaitResponse{StatusCode: int64(code)}
	}()
	return out, nil
}
