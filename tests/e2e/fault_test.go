package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"
)

// rounds is how often a test breaks something off: GANTRY_FAULT_ROUNDS for
// those who look for more.
func rounds(t *testing.T, n int) int {
	if s := os.Getenv("GANTRY_FAULT_ROUNDS"); s != "" {
		asked, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return asked
	}
	return n
}

// breakOff runs a command and, at an arbitrary moment within most, kills the
// daemon, which is started again, or, in every third round, the command.
func breakOff(t *testing.T, d *harness.Daemon, round int, most time.Duration, dir string, args ...string) {
	t.Helper()
	cmd := d.Command(dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at := time.Duration(rand.Int64N(int64(most)))
	moment := time.NewTimer(at) // where it hits is meant to vary
	<-moment.C
	if round%3 == 2 {
		t.Logf("the command is killed after %v", at)
		cmd.Process.Kill()
		cmd.Wait()
		return
	}
	t.Logf("the daemon is killed after %v", at)
	d.Kill9()
	cmd.Wait()
	d.Launch()
}

func noVolumes(t *testing.T, d *harness.Daemon) {
	t.Helper()
	if vols, _ := os.ReadDir(filepath.Join(d.Data(), "volumes")); len(vols) > 0 {
		t.Errorf("volumes left: %v", vols)
	}
}

var stackRuns = map[string]string{"stack-app-1": "running", "stack-db-1": "running", "stack-setup-1": "exited", "stack-web-1": "running"}

func TestDownKilledAnywhereIsCompletedByDown(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "x")
	kept := filepath.Join(d.Data(), "volumes/stack_data/_data/file")
	for round := range rounds(t, 3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			d.Must(dir, "up", "-d", "--wait")
			breakOff(t, d, round, 500*time.Millisecond, dir, "down", "-t", "0")
			d.Must(dir, "down", "-t", "0")
			d.NoLeaks()
			if b, err := os.ReadFile(kept); err != nil || string(b) != "made\n" {
				t.Errorf("the named volume's data: %q, %v", b, err)
			}
			d.Must(dir, "up", "-d")
			breakOff(t, d, round, 500*time.Millisecond, dir, "down", "-v", "-t", "0")
			d.Must(dir, "down", "-v", "-t", "0")
			d.NoLeaks()
			noNamedVolumes(t, d)
		})
	}
}

// noNamedVolumes allows for anonymous volumes of containers that a down without
// -v removed: they are kept on purpose.
func noNamedVolumes(t *testing.T, d *harness.Daemon) {
	t.Helper()
	vols, _ := os.ReadDir(filepath.Join(d.Data(), "volumes"))
	for _, v := range vols {
		if len(v.Name()) != 64 {
			t.Errorf("volume left: %s", v.Name())
		}
	}
}

func TestRecreationKilledAnywhereIsCompletedByUp(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "x")
	for round := range rounds(t, 3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			d.Must(dir, "up", "-d", "--wait")
			d.Must(dir, "exec", "-T", "db", "sh", "-c", "echo mark > /anon/mark")
			edited := strings.Replace(stack, "stop_grace_period: 1s", "stop_grace_period: 0s\n    environment: {EDIT: 'yes'}", 1)
			edited = strings.Replace(edited, "[httpd, -f,", "[httpd, -f, -v,", 1)
			d.Write("stack/compose.yaml", edited)
			defer d.Write("stack/compose.yaml", stack)
			breakOff(t, d, round, 1500*time.Millisecond, dir, "up", "-d", "--wait")
			d.Must(dir, "up", "-d", "--wait")
			expectState(d, dir, stackRuns)
			if got := d.Must(dir, "exec", "-T", "db", "sh", "-c", "cat /anon/mark; echo $EDIT"); got != "mark\nyes\n" {
				t.Errorf("the new container has %q", got)
			}
			before := ps(d, dir)
			d.Must(dir, "up", "-d", "--wait")
			for name, r := range ps(d, dir) {
				if r.ID != before[name].ID {
					t.Errorf("%s was replaced again", name)
				}
			}
			d.Must(dir, "down", "-v", "-t", "0")
			d.NoLeaks()
			noVolumes(t, d)
		})
	}
}

func TestOneOffKilledAnywhereLeavesNothingAfterDown(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "x")
	for round := range rounds(t, 3) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			breakOff(t, d, round, time.Second, dir, "run", "--rm", "-T", "web", "sleep", "0.3")
			harness.Eventually(t, "the one-off container has ended and is removed", func() error {
				for name, r := range ps(d, dir) {
					if strings.Contains(name, "-run-") && r.State != "created" {
						return fmt.Errorf("%s is %s", name, r.State)
					}
				}
				return nil
			})
			d.Must(dir, "up", "-d", "--wait")
			d.Must(dir, "down", "-v", "-t", "0")
			d.NoLeaks()
			noVolumes(t, d)
		})
	}
}

func TestUpsAndDownsAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "x")
	for range rounds(t, 2) {
		ends := make(chan harness.Result)
		verbs := [][]string{{"up", "-d"}, {"down", "-v", "-t", "0"}, {"up", "-d", "--wait"}, {"down", "-t", "0"}, {"restart", "-t", "0"}}
		for _, v := range verbs {
			go func() { ends <- d.Gantry(dir, v...) }()
		}
		for range verbs {
			if r := <-ends; r.Code != 0 && r.Args[0] != "restart" { // which fails when there is nothing
				t.Error(r)
			}
		}
		d.Must(dir, "up", "-d", "--wait")
		expectState(d, dir, stackRuns)
		d.Must(dir, "down", "-v", "-t", "0")
		d.NoLeaks()
	}
}
