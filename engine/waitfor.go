package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

const (
	// a container that ended this often, each time soon after its start, loops
	loopExits = 3
	// a run that lasted that long was no part of a crash loop
	loopRun = 10 * time.Second
	// lines of log that an error shows
	errorLogLines = 10
)

// waitCondition blocks until the container has reached what a dependant or the
// user waits for, or cannot any more.
func (e *Engine) waitCondition(ctx context.Context, a scheduler.WaitContainer) error {
	c, err := e.find(a.ID)
	if err != nil {
		return err
	}
	if a.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.Timeout, fmt.Errorf("service %q: container %q did not become %s within %v: %w",
			a.Service, a.Name, conditionText(a.Condition), a.Timeout, context.DeadlineExceeded))
		defer cancel()
	}
	c.mu.Lock()
	exits := c.exits
	c.mu.Unlock()
	short := 0 // runs that ended soon, one after the other
	seen := exits
	check := func() (bool, error) {
		if c.gone {
			return false, fmt.Errorf("it was removed: %w", errdefs.ErrNotFound)
		}
		if c.exits > seen {
			seen = c.exits
			if short++; c.last.ran >= loopRun {
				short = 0
			}
		}
		return reached(a.Condition, &c.st, short)
	}
	for {
		if err = c.await(ctx, check); err != nil || a.Condition != project.Started || c.state().Health != nil {
			break
		}
		young := settle(short) - time.Since(c.state().StartedAt)
		if young <= 0 {
			break
		}
		c.pause(ctx, young)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	return e.explain(c, a, err)
}

// settle is how long a run must last to count as running: one that ends at
// once, or has done so before, is about to show that it loops.
func settle(shortRuns int) time.Duration {
	if shortRuns > 0 {
		return 2 * time.Second
	}
	return 500 * time.Millisecond
}

// pause waits for d or for the container's state to change.
func (c *ctr) pause(ctx context.Context, d time.Duration) {
	c.mu.Lock()
	changed := c.changed
	c.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done(): // the next look at it says so
	}
}

// reached tells whether a condition holds; an error when it cannot come true.
func reached(cond project.Condition, st *state, shortRuns int) (bool, error) {
	ended := st.Status == container.StateExited || st.Status == container.StateDead
	health := container.NoHealthcheck
	if st.Health != nil {
		health = st.Health.Status
	}
	switch {
	case st.Status == container.StateRemoving:
		return false, fmt.Errorf("it is being removed: %w", errdefs.ErrFailedPrecondition)
	case cond == project.Completed && ended:
		if st.ExitCode == 0 {
			return true, nil
		}
		return false, fmt.Errorf("it %s: %w", exitText(st.ExitCode), errdefs.ErrFailedPrecondition)
	case ended:
		return false, fmt.Errorf("it %s: %w", exitText(st.ExitCode), errdefs.ErrFailedPrecondition)
	case cond != project.Completed && (shortRuns >= loopExits || st.Status == container.StateRestarting && st.RestartCount >= loopExits):
		return false, fmt.Errorf("it ends again and again, restarting (%d), last %s: %w", st.RestartCount, exitText(st.ExitCode), errdefs.ErrFailedPrecondition)
	case !st.alive():
		return false, nil
	case cond == project.Started && health == container.NoHealthcheck:
		return true, nil
	case cond == project.Healthy && health == container.NoHealthcheck:
		return false, fmt.Errorf("it has no health check to wait for: %w", errdefs.ErrFailedPrecondition)
	case cond != project.Completed && health == container.Unhealthy:
		return false, fmt.Errorf("it is unhealthy: %w", errdefs.ErrFailedPrecondition)
	case cond != project.Completed:
		return health == container.Healthy, nil
	}
	return false, nil
}

func conditionText(c project.Condition) string {
	switch c {
	case project.Healthy:
		return "healthy"
	case project.Completed:
		return "complete"
	}
	return "running"
}

// explain adds to a failed wait what a person needs to see why: the last
// probe's output and the last lines of the log.
func (e *Engine) explain(c *ctr, a scheduler.WaitContainer, err error) error {
	var b strings.Builder
	st := c.state()
	if h := st.Health; h != nil && len(h.Log) > 0 && h.Status != container.Healthy {
		last := h.Log[len(h.Log)-1]
		fmt.Fprintf(&b, "\n  last probe (exit code %d): %s", last.ExitCode, strings.TrimSpace(last.Output))
	}
	if lines := e.lastLines(c, errorLogLines); len(lines) > 0 {
		b.WriteString("\n  last log lines:")
		for _, l := range lines {
			b.WriteString("\n    " + l)
		}
	}
	if a.Service == "" {
		return fmt.Errorf("container %q: %w%s", a.Name, err, b.String())
	}
	return fmt.Errorf("service %q: container %q: %w%s", a.Service, a.Name, err, b.String())
}
