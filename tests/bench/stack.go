package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gantry/tests/harness"

	moby "github.com/moby/moby/client"
)

// sleepers writes a project of n services and returns its directory.
func sleepers(d *harness.Daemon, name string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nservices:\n", name)
	for i := range n {
		fmt.Fprintf(&b, "  s%03d:\n    image: busybox\n    command: [sleep, \"100000\"]\n", i)
	}
	return d.Project(name, b.String())
}

// upDown measures the life of a project of n services: up, up again with
// nothing to do, down.
func upDown(t *tb, r *report, d *harness.Daemon, f *floor, n int, o options) {
	dir := sleepers(d, fmt.Sprintf("n%d", n), n)
	t.Cleanup(func() { d.Gantry(dir, "down", "-t", "0") })
	var floors, ups, downs, again, cpu []time.Duration
	wrote := 0
	for round := range o.rounds {
		t.step("%d services, round %d", n, round+1)
		floors = append(floors, f.sleepers(n))
		ups = append(ups, wall(d, dir, "up", "-d"))
		before, stamp := containers(t, d, dir), metadataStamp(t, d)
		took, used := unchanged(t, d, dir)
		again, cpu = append(again, took), append(cpu, used)
		if after := containers(t, d, dir); after != before {
			t.Fatalf("a second up changed containers:\n%s\n%s", before, after)
		}
		if metadataStamp(t, d) != stamp {
			wrote++
		}
		downs = append(downs, wall(d, dir, "down", "-t", "0"))
		d.NoLeaks() // the next round must not pay for what this one left to do
	}
	ifThirty := func(budget float64) float64 {
		if n == 30 {
			return budget
		}
		return 0
	}
	r.timed(fmt.Sprintf("up -d of %d", n), ups, floors, ifThirty(2.5))
	r.timed(fmt.Sprintf("up -d again, %d unchanged", n), again, floors, 0)
	bounded(r, fmt.Sprintf("up -d again, %d: CPU of CLI, daemon, shim", n), cpu, millis, time.Duration(ifThirty(60))*time.Millisecond)
	if n == 30 {
		bounded(r, fmt.Sprintf("up -d again, %d: runs that wrote to containerd", n), []int{wrote}, func(i int) string { return fmt.Sprint(i) }, 0)
		r.rows[len(r.rows)-1].budget, r.rows[len(r.rows)-1].over = "0", wrote > 0
	}
	r.timed(fmt.Sprintf("down -t 0 of %d", n), downs, floors, ifThirty(2))
}

// wall is how long the CLI takes.
func wall(d *harness.Daemon, dir string, args ...string) time.Duration {
	began := time.Now()
	d.Must(dir, args...)
	return time.Since(began)
}

// unchanged runs "up -d" and returns how long it took, and the CPU time that
// the CLI, the daemon and its shims used for it.
func unchanged(t *tb, d *harness.Daemon, dir string) (took, cpu time.Duration) {
	pids := append(d.Shims(), d.Pid())
	spent := func() (sum time.Duration) {
		for _, pid := range pids {
			c, err := cpuTime(pid)
			if err != nil {
				t.Fatal(err)
			}
			sum += c
		}
		return sum
	}
	before, began := spent(), time.Now()
	cmd := d.Command(dir, "up", "-d")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("up -d: %v\n%s", err, out)
	}
	took = time.Since(began)
	return took, spent() - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// containers tells a project's containers apart from any that took their
// place: their IDs, main processes and times of starting.
func containers(t *tb, d *harness.Daemon, dir string) string {
	c, err := moby.New(moby.WithHost(d.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b strings.Builder
	for _, id := range strings.Fields(d.Must(dir, "ps", "-q")) {
		got, err := c.ContainerInspect(t.ctx, id, moby.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := got.Container.State
		fmt.Fprintf(&b, "%s %d %s\n", got.Container.ID, s.Pid, s.StartedAt)
	}
	return b.String()
}

// metadataStamp changes when containerd's database is written to.
func metadataStamp(t *tb, d *harness.Daemon) time.Time {
	info, err := os.Stat(filepath.Join(d.Data(), "containerd/io.containerd.metadata.v1.bolt/meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// growth measures whether a container costs more beside 200 others: three
// projects of 100 after each other, each beside what the floor is by then, as
// the kernel's and runc's own work grows with the containers that run.
func growth(t *tb, r *report, d *harness.Daemon, f *floor, o options) {
	const n, sample = 100, 30
	var ups, downs [3][]float64 // a container's cost in floors
	var dirs [3]string
	for i := range dirs {
		dirs[i] = sleepers(d, fmt.Sprintf("grow%d", i), n)
		t.Cleanup(func() { d.Gantry(dirs[i], "down", "-t", "0") })
	}
	for round := range min(o.rounds, 3) {
		var floors [3]float64
		for i, dir := range dirs {
			t.step("%d to %d containers, round %d", i*n, (i+1)*n, round+1)
			floors[i] = f.sleepers(sample).Seconds() / sample
			ups[i] = append(ups[i], wall(d, dir, "up", "-d").Seconds()/n/floors[i])
		}
		for i := len(dirs) - 1; i >= 0; i-- { // the last one goes first, beside 200 others
			t.step("%d to %d containers, round %d", (i+1)*n, i*n, round+1)
			downs[i] = append(downs[i], wall(d, dirs[i], "down", "-t", "0").Seconds()/n/floors[i])
		}
		d.NoLeaks()
	}
	inFloors := func(x float64) string { return fmt.Sprintf("%.2f floors", x) }
	for i, cost := range [][3][]float64{ups, downs} {
		what := []string{"up -d", "down -t 0"}[i]
		few, many := median(cost[0]), median(cost[2])
		bounded(r, what+": a container beside 0 others", cost[0], inFloors, 0)
		r.add(row{what: what + ": a container beside 200 others", value: inFloors(many), spread: spread(cost[2], inFloors),
			ratio: fmt.Sprintf("%.2f", many/few), budget: "does not grow (≤ 1.2)", over: many/few > 1.2})
	}
}
