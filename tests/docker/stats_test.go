package docker_test

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// used is a row of docker stats.
type used struct{ Name, ID, CPUPerc, MemUsage, MemPerc, NetIO, BlockIO, PIDs string }

// measured runs docker stats once.
func measured(d *harness.Daemon, args ...string) map[string]used {
	d.T.Helper()
	out := map[string]used{}
	for line := range strings.Lines(d.MustDocker(append([]string{"stats", "--no-stream", "--format", "{{json .}}"}, args...)...)) {
		var u used
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			d.T.Fatalf("%q: %v", line, err)
		}
		out[u.Name] = u
	}
	return out
}

func TestStatsMeasure(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "busy", "--memory", "64m", "--pids-limit", "50", image, "sh", "-c", "sleep 1000 & while :; do :; done")
	d.MustDocker("run", "-d", "--name", "host", "--network", "host", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "joined", "--network", "container:busy", image, "sleep", "1000")
	d.MustDocker("create", "--name", "still", image, "true")
	got := measured(d)
	if len(got) != 3 {
		t.Fatalf("%d are measured: %v", len(got), got)
	}
	busy := got["busy"]
	if busy.CPUPerc == "0.00%" || busy.PIDs != "2" || !strings.HasSuffix(busy.MemUsage, "/ 64MiB") || strings.HasPrefix(busy.MemUsage, "0B") || busy.NetIO == "0B / 0B" {
		t.Errorf("a busy one: %+v", busy)
	}
	if got["host"].NetIO != "0B / 0B" || strings.HasSuffix(got["host"].MemUsage, "/ 0B") {
		t.Errorf("one on the host's network: %+v", got["host"])
	}
	if got["joined"].NetIO == "0B / 0B" {
		t.Errorf("one on the network of another: %+v", got["joined"])
	}
	if got := measured(d, "-a"); len(got) != 4 || got["still"].MemUsage != "0B / 0B" || got["still"].PIDs != "0" {
		t.Errorf("with one that does not run: %+v", got)
	}
	if r := d.FailDocker("stats", "--no-stream", "nobody"); !strings.Contains(r.Stderr, "No such container: nobody") {
		t.Error(r)
	}
}

// Live stats go on when a container stops, and know it when it is back.
func TestStatsFollowAContainer(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "one", image, "sleep", "1000")
	cmd := d.DockerCommand(d.Dir, "stats", "--format", "{{.Name}} {{.PIDs}}", "one")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	rows := make(chan string)
	go func() {
		defer close(rows)
		for s := bufio.NewScanner(out); s.Scan(); {
			if i := strings.Index(s.Text(), "one "); i >= 0 {
				rows <- s.Text()[i:]
			}
		}
	}()
	await := func(begins string) {
		t.Helper()
		for row := range rows {
			if strings.HasPrefix(row, begins) {
				return
			}
		}
		t.Fatalf("the output ended before %q", begins)
	}
	await("one 1")
	d.MustDocker("stop", "-t", "0", "one")
	await("one 0")
	d.MustDocker("start", "one")
	await("one 1")
}
