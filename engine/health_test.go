package engine

import (
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// drive probes for a while with a probe that takes 20 ms and answers ok(since
// start), and returns when each status was reached first.
func drive(c check, span time.Duration, ok func(time.Duration) bool) (reached map[container.HealthStatus]time.Duration, probes int) {
	p := newPulse(c, epoch, epoch, container.Starting)
	reached = map[container.HealthStatus]time.Duration{}
	for {
		at, counts := p.due()
		if at.Sub(epoch) > span {
			return reached, probes
		}
		probes++
		ended := at.Add(20 * time.Millisecond)
		s := p.result(ok(at.Sub(epoch)), counts, at, ended)
		if _, seen := reached[s]; !seen {
			reached[s] = ended.Sub(epoch)
		}
	}
}

func TestEagerProbesNoticeReadinessSoon(t *testing.T) {
	c := *newCheck(&container.HealthConfig{Test: []string{"CMD", "x"}})
	for _, ready := range []time.Duration{0, 30 * time.Millisecond, 300 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second} {
		got, _ := drive(c, time.Minute, func(at time.Duration) bool { return at >= ready })
		late := got[container.Healthy] - ready
		if bound := ready/30 + 120*time.Millisecond; late > bound {
			t.Errorf("ready after %v was noticed %v later, more than %v", ready, late, bound)
		}
	}
}

func TestOnlyScheduledFailuresAfterTheStartPeriodCount(t *testing.T) {
	c := *newCheck(&container.HealthConfig{Test: []string{"CMD", "x"}, Interval: 10 * time.Second, StartPeriod: 25 * time.Second, StartInterval: 5 * time.Second, Retries: 3})
	got, _ := drive(c, 2*time.Minute, func(time.Duration) bool { return false })
	// the first counting probe begins after 25 s, the third 20 s later
	if at := got[container.Unhealthy]; at < 45*time.Second || at > 56*time.Second {
		t.Errorf("unhealthy after %v", at)
	}
}

func TestHealthyBecomesUnhealthyOnlyByRetriesInARow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		retries := rapid.IntRange(1, 5).Draw(t, "retries")
		answers := rapid.SliceOfN(rapid.Bool(), 1, 60).Draw(t, "answers")
		p := newPulse(*newCheck(&container.HealthConfig{Test: []string{"CMD", "x"}, Interval: time.Second, Retries: retries}), epoch, epoch, container.Healthy)
		streak := 0
		for _, ok := range answers {
			at, counts := p.due()
			if !counts {
				t.Fatal("a healthy container is probed eagerly")
			}
			if ok {
				streak = 0
			} else {
				streak++
			}
			before := p.status
			after := p.result(ok, counts, at, at)
			switch {
			case ok && after != container.Healthy:
				t.Fatalf("success leaves it %s", after)
			case !ok && streak >= retries && after != container.Unhealthy:
				t.Fatalf("%d failures in a row leave it %s", streak, after)
			case !ok && streak < retries && after != before:
				t.Fatalf("%d of %d failures make it %s", streak, retries, after)
			}
		}
	})
}

func TestProbingTakesAtMostAThirdOfTheTime(t *testing.T) {
	c := *newCheck(&container.HealthConfig{Test: []string{"CMD", "x"}})
	for span, most := range map[time.Duration]time.Duration{time.Second: time.Second / 3, 10 * time.Second: 2 * time.Second, time.Minute: 3 * time.Second} {
		_, probes := drive(c, span, func(time.Duration) bool { return false })
		if busy := time.Duration(probes) * 20 * time.Millisecond; busy > most {
			t.Errorf("%d probes of 20 ms in %v", probes, span)
		}
	}
}

func TestNoneDisablesProbing(t *testing.T) {
	for _, h := range []*container.HealthConfig{nil, {}, {Test: []string{"NONE"}}} {
		if newCheck(h) != nil {
			t.Errorf("%v is probed", h)
		}
	}
}
