package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// monitor probes one running container until it is stopped.
type monitor struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// stop ends probing and waits for the probe in flight to be called off.
func (m *monitor) stop() {
	if m != nil {
		m.cancel()
		<-m.done
	}
}

// watchHealth starts probing the container's current run.
func (e *Engine) watchHealth(c *ctr, started time.Time) *monitor {
	rec, st := c.record(), c.state()
	chk := newCheck(rec.Config.Healthcheck)
	if chk == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(e.ctx)
	m := &monitor{cancel: cancel, done: make(chan struct{})}
	status := container.Starting
	if st.Health != nil {
		status = st.Health.Status
	}
	p := newPulse(*chk, started, time.Now(), status)
	go func() {
		defer close(m.done)
		for {
			at, counts := p.due()
			t := time.NewTimer(time.Until(at))
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return
			}
			if c.state().Status == container.StatePaused { // a frozen process answers nothing
				p.skip(time.Now())
				continue
			}
			if !counts {
				select {
				case e.eager <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
			began := time.Now()
			code, output := e.probe(ctx, c, chk)
			if !counts {
				<-e.eager
			}
			if ctx.Err() != nil {
				return
			}
			ended := time.Now()
			p.result(code == 0, counts, began, ended)
			e.recordProbe(c, p, container.HealthcheckResult{Start: began, End: ended, ExitCode: code, Output: output})
		}
	}()
	return m
}

// recordProbe notes a probe's result where inspect shows it. Only a change of
// status is written to disk: the rest is worth no write every few seconds.
func (e *Engine) recordProbe(c *ctr, p *pulse, r container.HealthcheckResult) {
	c.mu.Lock()
	old := c.st.Health
	h := &container.Health{Status: p.status, FailingStreak: p.streak}
	was := container.Starting
	if old != nil {
		was, h.Log = old.Status, append(h.Log, old.Log...)
	}
	h.Log = append(h.Log, &r)
	if n := len(h.Log) - probeResultsKept; n > 0 {
		h.Log = h.Log[n:]
	}
	c.st.Health = h
	var err error
	if was != h.Status {
		err = c.saveLocked()
	}
	c.mu.Unlock()
	if err != nil {
		log.G(e.ctx).WithError(err).Warnf("container %q: health is not on disk", c.name())
	}
	if was != h.Status {
		e.emitContainer(c, events.Action(string(events.ActionHealthStatus)+": "+string(h.Status)), nil)
	}
}

// probe runs the check once; code -1 means that it could not be run or took
// too long, and output says so.
func (e *Engine) probe(ctx context.Context, c *ctr, chk *check) (code int, output string) {
	ctx, cancel := context.WithTimeoutCause(ctx, chk.timeout, fmt.Errorf("Health check exceeded timeout (%v)", chk.timeout))
	defer cancel()
	rec := c.record()
	argv := chk.test[1:]
	switch chk.test[0] {
	case "CMD":
	case "CMD-SHELL":
		shell := rec.Config.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		argv = append(append([]string{}, shell...), argv...)
	default: // as Docker: a bare list is a command
		argv = chk.test
	}
	var out headBuffer
	x := e.newExec(c, container.ExecCreateRequest{Cmd: argv, AttachStdout: true, AttachStderr: true})
	code, err := e.runExec(ctx, x, &out)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return -1, err.Error() + "\n" + out.String()
	}
	return code, out.String()
}

// headBuffer keeps the first bytes of what is written to it.
type headBuffer struct{ bytes.Buffer }

func (b *headBuffer) Write(p []byte) (int, error) {
	if room := probeOutputKept - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

var _ io.Writer = (*headBuffer)(nil)
