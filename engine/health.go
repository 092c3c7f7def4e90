package engine

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// Docker's defaults for health checks.
const (
	probeInterval      = 30 * time.Second
	probeTimeout       = 30 * time.Second
	probeStartInterval = 5 * time.Second
	probeRetries       = 3
	probeEagerFirst    = 50 * time.Millisecond
	probeEagerShare    = 32 // eager probes are this part of the time since the start apart
	probeEagerRest     = 2  // and rest twice as long as a probe takes
	probeResultsKept   = 5
	probeOutputKept    = 4096
)

// check is a health check with its defaults filled in.
type check struct {
	test          []string // CMD or CMD-SHELL and what follows
	interval      time.Duration
	timeout       time.Duration
	startPeriod   time.Duration
	startInterval time.Duration
	retries       int
}

// newCheck returns nil when there is nothing to probe.
func newCheck(h *container.HealthConfig) *check {
	if h == nil || len(h.Test) == 0 || h.Test[0] == "NONE" || h.Test[0] == "" {
		return nil
	}
	or := func(d, def time.Duration) time.Duration {
		if d == 0 {
			return def
		}
		return d
	}
	c := &check{test: h.Test, interval: or(h.Interval, probeInterval), timeout: or(h.Timeout, probeTimeout),
		startPeriod: h.StartPeriod, startInterval: or(h.StartInterval, probeStartInterval), retries: h.Retries}
	if c.retries == 0 {
		c.retries = probeRetries
	}
	return c
}

// pulse decides when to probe and what results mean; time goes in as data.
//
// Besides the scheduled probes there are eager ones until the first success:
// 50 ms after the start, then at distances that grow with the time since the
// start, so that a late success is noticed a few hundredths late, and probing
// takes at most a third of the time. An eager failure counts for nothing; one
// success makes the container healthy. Of many containers that start at once
// only some are probed eagerly at a time: see Engine.eager.
type pulse struct {
	check
	started   time.Time
	scheduled time.Time // when the next counting probe is due
	eager     time.Time // when the next eager probe is due; zero: none any more
	streak    int
	status    container.HealthStatus
}

func newPulse(c check, started, now time.Time, status container.HealthStatus) *pulse {
	p := &pulse{check: c, started: started, status: status}
	if p.status == "" || p.status == container.NoHealthcheck {
		p.status = container.Starting
	}
	if p.status == container.Starting {
		p.eager = now.Add(probeEagerFirst)
	}
	p.scheduled = now.Add(p.pace(now))
	return p
}

// pace is the distance of scheduled probes at a moment.
func (p *pulse) pace(now time.Time) time.Duration {
	if p.status == container.Starting && now.Before(p.started.Add(p.startPeriod)) {
		return p.startInterval
	}
	return p.interval
}

// due returns when the next probe is to run and whether its failure may count.
func (p *pulse) due() (at time.Time, counts bool) {
	if !p.eager.IsZero() && p.eager.Before(p.scheduled) {
		return p.eager, false
	}
	return p.scheduled, true
}

// skip passes over the probes that are due.
func (p *pulse) skip(now time.Time) {
	p.scheduled = now.Add(p.pace(now))
	if !p.eager.IsZero() {
		p.eager = p.scheduled
	}
}

// result takes a finished probe in and returns the container's health. Source
// of the counting rules: Docker's documentation of HEALTHCHECK.
func (p *pulse) result(ok, counts bool, began, ended time.Time) container.HealthStatus {
	switch {
	case ok:
		p.status, p.streak, p.eager = container.Healthy, 0, time.Time{}
	case counts && !(p.status == container.Starting && began.Before(p.started.Add(p.startPeriod))):
		if p.streak++; p.streak >= p.retries {
			p.status, p.eager = container.Unhealthy, time.Time{}
		}
	}
	if counts || ok {
		p.scheduled = ended.Add(p.pace(ended))
	}
	if !p.eager.IsZero() {
		distance := max(probeEagerFirst, ended.Sub(p.started)/probeEagerShare, probeEagerRest*ended.Sub(began))
		if p.eager = ended.Add(distance); distance >= p.interval {
			p.eager = time.Time{}
		}
	}
	return p.status
}

// checkHealth refuses health checks that Docker refuses.
func checkHealth(h *container.HealthConfig) error {
	if h == nil {
		return nil
	}
	for _, d := range []struct {
		name string
		is   time.Duration
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"StartPeriod", h.StartPeriod}, {"StartInterval", h.StartInterval}} {
		if d.is != 0 && d.is < container.MinimumDuration {
			return fmt.Errorf("%s in Healthcheck cannot be less than %s: %w", d.name, container.MinimumDuration, errdefs.ErrInvalidArgument)
		}
	}
	if h.Retries < 0 {
		return fmt.Errorf("Retries in Healthcheck cannot be negative: %w", errdefs.ErrInvalidArgument)
	}
	return nil
}
