package engine

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
)

func TestWantsRestart(t *testing.T) {
	policy := func(name string, max int) container.RestartPolicy {
		return container.RestartPolicy{Name: container.RestartPolicyMode(name), MaximumRetryCount: max}
	}
	for _, tc := range []struct {
		name           string
		policy         container.RestartPolicy
		code, restarts int
		stopped, want  bool
	}{
		{"no policy", policy("", 0), 1, 0, false, false},
		{"no", policy("no", 0), 1, 0, false, false},
		{"always after success", policy("always", 0), 0, 100, false, true},
		{"always, stopped by hand", policy("always", 0), 0, 0, true, false},
		{"unless-stopped after failure", policy("unless-stopped", 0), 1, 3, false, true},
		{"unless-stopped, stopped by hand", policy("unless-stopped", 0), 137, 3, true, false},
		{"on-failure after success", policy("on-failure", 0), 0, 0, false, false},
		{"on-failure without a bound", policy("on-failure", 0), 3, 1000, false, true},
		{"on-failure below its bound", policy("on-failure", 2), 3, 1, false, true},
		{"on-failure at its bound", policy("on-failure", 2), 3, 2, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := wantsRestart(tc.policy, tc.code, tc.restarts, tc.stopped); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestBackOffDoublesToAMinuteAndStartsAnew(t *testing.T) {
	var waits []time.Duration
	var last time.Duration
	for range 12 {
		last = nextBackOff(last, time.Second)
		waits = append(waits, last)
	}
	if waits[0] != 100*time.Millisecond || waits[1] != 200*time.Millisecond || waits[9] != 51200*time.Millisecond || waits[11] != time.Minute {
		t.Errorf("waits %v", waits)
	}
	if got := nextBackOff(last, 10*time.Second); got != 100*time.Millisecond {
		t.Errorf("after a long run: %v", got)
	}
}
