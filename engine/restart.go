package engine

import (
	"time"

	"github.com/moby/moby/api/types/container"
)

// Docker's back-off between restarts: it doubles from 100 ms up to a minute and
// starts anew after a run of at least ten seconds.
const (
	backOffFirst = 100 * time.Millisecond
	backOffMax   = time.Minute
	backOffReset = 10 * time.Second
)

// wantsRestart decides by policy whether a container that ended is started
// again. Source: Docker's documentation of restart policies.
func wantsRestart(p container.RestartPolicy, exitCode, restarts int, stopped bool) bool {
	if stopped {
		return false
	}
	switch p.Name {
	case container.RestartPolicyAlways, container.RestartPolicyUnlessStopped:
		return true
	case container.RestartPolicyOnFailure:
		return exitCode != 0 && (p.MaximumRetryCount == 0 || restarts < p.MaximumRetryCount)
	}
	return false
}

// nextBackOff is how long to wait before the next start, given the last wait
// and how long the container ran.
func nextBackOff(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= backOffReset {
		return backOffFirst
	}
	return min(2*last, backOffMax)
}
