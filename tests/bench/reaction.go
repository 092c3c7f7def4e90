package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"gantry/tests/harness"
)

// waiting is a project whose dependency becomes ready at a random moment. The
// files' times say when its probe could first pass and when the dependant ran.
const waiting = `
name: waiting
services:
  db:
    image: busybox
    command: [sh, -c, "sleep %.3f; touch /shared/ready; exec sleep 100000"]
    volumes: ["./shared:/shared"]
    healthcheck: {test: [CMD, test, -e, /shared/ready], interval: 5s}
  app:
    image: busybox
    command: [sh, -c, "touch /shared/started; exec sleep 100000"]
    volumes: ["./shared:/shared"]
    depends_on: {db: {condition: service_healthy}}
`

// reaction measures how long after its dependency could first pass its probe
// a dependant starts.
func reaction(t *tb, r *report, d *harness.Daemon, o options) {
	for _, span := range [][2]float64{{0.1, 0.8}, {2, 4}} {
		var took []time.Duration
		for round := range 2*o.rounds + 1 {
			delay := span[0] + rand.Float64()*(span[1]-span[0])
			t.step("a dependency that is ready after %.1f s, round %d", delay, round+1)
			took = append(took, reactOnce(t, d, delay))
		}
		bounded(r, fmt.Sprintf("dependency ready after %g–%g s to dependant started", span[0], span[1]), took, millis, 150*time.Millisecond)
	}
}

func reactOnce(t *tb, d *harness.Daemon, delay float64) time.Duration {
	dir := d.Project("waiting", fmt.Sprintf(waiting, delay))
	shared := filepath.Join(dir, "shared")
	t.Cleanup(func() { d.Gantry(dir, "down", "-t", "0") })
	d.Must(dir, "up", "-d")
	at := func(name string) time.Time {
		var when time.Time
		harness.Eventually(t, name+" is written", func() error {
			info, err := os.Stat(filepath.Join(shared, name))
			if err == nil {
				when = info.ModTime()
			}
			return err
		})
		return when
	}
	took := at("started").Sub(at("ready"))
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
	if err := os.RemoveAll(shared); err != nil {
		t.Fatal(err)
	}
	return took
}
