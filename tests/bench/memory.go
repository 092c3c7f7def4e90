package main

import "gantry/tests/harness"

const perContainer = 30 // containers among which what they take is divided

// memory measures a daemon that has done nothing but load an image, one that
// runs containers, and one that has stopped them again.
func memory(t *tb, r *report, d *harness.Daemon, o options) {
	look := func(pids ...int) usage {
		u, err := memoryOf(pids...)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	t.step("memory")
	rest := look(d.Pid())
	dir := sleepers(d, "memory", perContainer)
	t.Cleanup(func() { d.Gantry(dir, "down", "-t", "0") })
	var pss, rss, shimPSS, shimRSS, afterPSS, afterRSS, each []int
	for round := range o.rounds {
		t.step("memory with %d containers, round %d", perContainer, round+1)
		d.Must(dir, "up", "-d")
		daemon, shims := look(d.Pid()), look(d.Shims()...)
		pss, rss = append(pss, daemon.pss), append(rss, daemon.rss)
		shimPSS, shimRSS = append(shimPSS, shims.pss), append(shimRSS, shims.rss)
		each = append(each, (daemon.pss+shims.pss-rest.pss)/perContainer)
		d.Must(dir, "down", "-t", "0")
		d.NoLeaks()
		after := look(d.Pid())
		afterPSS, afterRSS = append(afterPSS, after.pss), append(afterRSS, after.rss)
	}
	const mb = 1_000_000 / 1024 // in KiB
	bounded(r, "daemon at rest, PSS", []int{rest.pss}, megabytes, 80*mb)
	bounded(r, "daemon at rest, RSS", []int{rest.rss}, megabytes, 80*mb)
	bounded(r, "daemon with 30 containers, PSS", pss, megabytes, 0)
	bounded(r, "daemon with 30 containers, RSS", rss, megabytes, 0)
	bounded(r, "shim with 30 containers, PSS", shimPSS, megabytes, 0)
	bounded(r, "shim with 30 containers, RSS", shimRSS, megabytes, 0)
	bounded(r, "daemon and shim above rest, per container of 30, PSS", each, megabytes, 2*mb)
	bounded(r, "daemon after down of 30, PSS", afterPSS, megabytes, 80*mb)
	bounded(r, "daemon after down of 30, RSS", afterRSS, megabytes, 80*mb)
}
