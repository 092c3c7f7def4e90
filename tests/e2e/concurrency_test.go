package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"gantry/tests/harness"
)

func TestTwoUpsOfOneProjectTakeTurns(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("turns", "name: turns\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true, scale: 3}}\n")
	var wg sync.WaitGroup
	results := make([]harness.Result, 3)
	for i := range results {
		wg.Go(func() { results[i] = d.Gantry(dir, "up", "-d") })
	}
	wg.Wait()
	for _, r := range results {
		if r.Code != 0 {
			t.Error(r)
		}
	}
	expectState(d, dir, map[string]string{"turns-a-1": "running", "turns-a-2": "running", "turns-a-3": "running"})
}

func TestTwentyProjectsAtOnce(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	const n = 20
	dirs := make([]string, n)
	for i := range n {
		dirs[i] = d.Project(fmt.Sprintf("p%d", i), fmt.Sprintf("name: p%d\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true, ports: ['127.0.0.1::80']}}\n", i))
	}
	each := func(args ...string) {
		t.Helper()
		var wg sync.WaitGroup
		results := make([]harness.Result, n)
		for i := range n {
			wg.Go(func() { results[i] = d.Gantry(dirs[i], args...) })
		}
		wg.Wait()
		for _, r := range results {
			if r.Code != 0 {
				t.Fatal(r)
			}
		}
	}
	each("up", "-d", "--wait")
	ports, subnets := map[string]bool{}, map[string]bool{}
	for i := range n {
		ports[strings.TrimSpace(d.Must(dirs[i], "port", "a", "80"))] = true
		out := d.Must(dirs[i], "exec", "-T", "a", "ip", "-4", "-o", "addr", "show", "eth0")
		subnets[out] = true
	}
	if len(ports) != n || len(subnets) != n {
		t.Errorf("%d ports, %d addresses for %d projects", len(ports), len(subnets), n)
	}
	each("down", "-t", "0")
	d.NoLeaks()
}
