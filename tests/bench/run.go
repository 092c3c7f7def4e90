package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"gantry/tests/harness"
)

// runOnce measures a service's container that only runs and goes.
func runOnce(t *tb, r *report, d *harness.Daemon, f *floor, o options) {
	dir := sleepers(d, "once", 1)
	t.Cleanup(func() { d.Gantry(dir, "down", "-t", "0") })
	var took, floors []time.Duration
	for round := range o.rounds {
		t.step("compose run --rm, round %d", round+1)
		floors = append(floors, f.once("true"))
		took = append(took, wall(d, dir, "run", "--rm", "-T", "s000", "true"))
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
	r.timed("compose run --rm of true", took, floors, 0)
}

// dockerRun measures "docker run --rm busybox true" from the command's start to
// its end: one soon after another, and one after some rest, when no shim waits.
// Floor and container take turns, so that both see the same machine.
func dockerRun(t *tb, r *report, d *harness.Daemon, f *floor, o options) {
	docker(t, d, "run", "--rm", "busybox", "true") // the first one makes the network
	for _, rest := range []bool{false, true} {
		var took, floors, cpu []time.Duration
		for round := range 4*o.rounds + 1 {
			t.step("docker run --rm, rested: %v, round %d", rest, round+1)
			if rest {
				d.NoLeaks()
			}
			floors = append(floors, f.once("true"))
			before := daemonCPU(t, d)
			began := time.Now()
			docker(t, d, "run", "--rm", "busybox", "true")
			took = append(took, time.Since(began))
			// what is done behind the command's back costs its time, not the next one's
			harness.Eventually(t, "nothing but a shim is left", func() error {
				for _, l := range d.Leaks() {
					if !strings.HasPrefix(l, "shim") && !strings.HasPrefix(l, "file run/ctd/s/") {
						return fmt.Errorf("still there: %s", l)
					}
				}
				return nil
			})
			cpu = append(cpu, daemonCPU(t, d)-before)
		}
		d.NoLeaks()
		what := "docker run --rm busybox true"
		if rest {
			what += ", after a rest"
		}
		r.timed(what, took, floors, 4)
		bounded(r, "CPU of the daemon for it", cpu, millis, 0)
	}
}

// docker runs the docker command line, which must succeed.
func docker(t *tb, d *harness.Daemon, args ...string) string {
	got := d.Docker(args...)
	if got.Code != 0 {
		t.Fatal(got)
	}
	return got.Stdout
}

func daemonCPU(t *tb, d *harness.Daemon) time.Duration {
	c, err := cpuTime(d.Pid())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stormSize is how many containers a storm runs.
const stormSize = 200

// storm runs containers to their end in four lanes, as runc alone does it. All
// of their output and exit codes must arrive, and nothing may stay.
func storm(t *tb, r *report, d *harness.Daemon, f *floor, o options) {
	var took, floors []time.Duration
	for round := range min(o.rounds, 3) {
		t.step("%d containers in four lanes, round %d", stormSize, round+1)
		floors = append(floors, f.all("true"))
		began := time.Now()
		var lanes sync.WaitGroup
		for lane := range parallel {
			lanes.Go(func() {
				for i := lane; i < stormSize; i += parallel {
					got := d.Docker("run", "--rm", "busybox", "sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i%100))
					if got.Stdout != fmt.Sprintln(i) || got.Code != i%100 {
						t.Errorf("container %d: %v", i, got)
					}
				}
			})
		}
		lanes.Wait()
		took = append(took, time.Since(began))
		if t.Failed() {
			t.Fatal("a container was lost")
		}
		d.NoLeaks()
	}
	r.timed(fmt.Sprintf("%d docker run --rm in four lanes", stormSize), took, floors, 0)
}

// loneMemory measures what containers take that belong to no project.
func loneMemory(t *tb, r *report, d *harness.Daemon) {
	const lone = 16
	look := func(pids ...int) usage {
		u, err := memoryOf(pids...)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	rest := look(d.Pid())
	t.step("memory with %d lone containers", lone)
	var ids []string
	for range lone {
		ids = append(ids, strings.TrimSpace(docker(t, d, "run", "-d", "busybox", "sleep", "100000")))
	}
	shims := d.Shims()
	daemon, all := look(d.Pid()), look(shims...)
	docker(t, d, append([]string{"rm", "-f"}, ids...)...)
	d.NoLeaks()
	bounded(r, fmt.Sprintf("%d shims of %d lone containers, PSS", len(shims), lone), []int{all.pss}, megabytes, 0)
	bounded(r, fmt.Sprintf("%d shims of %d lone containers, RSS", len(shims), lone), []int{all.rss}, megabytes, 0)
	bounded(r, "daemon and shims above rest, per lone container, PSS", []int{max(0, daemon.pss+all.pss-rest.pss) / lone}, megabytes, 2_000_000/1024)
}
