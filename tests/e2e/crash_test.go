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

func TestKilledDaemonLosesNoLineAndNoExitCode(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("crash", `
name: crash
services:
  talker: {image: busybox, command: [sh, -c, "i=0; while [ $$i -lt 2000 ]; do echo line $$i; i=$$((i+1)); done; touch /tmp/done; exec sleep 1000"], init: true}
  dies: {image: busybox, command: [sh, -c, "while [ ! -e /d/die ]; do sleep 0.05; done; exit 42"], volumes: ["./d:/d"]}
  again: {image: busybox, command: [sh, -c, "echo run; while [ ! -e /d/again ]; do sleep 0.05; done; rm /d/again; exit 3"], volumes: ["./d:/d"], restart: always}
`, "d/.keep", "")
	d.Must(dir, "up", "-d")
	before := ps(d, dir)
	pid := d.Must(dir, "exec", "-T", "talker", "cat", "/proc/1/stat")
	d.Kill9()
	d.Write("crash/d/die", "")
	d.Write("crash/d/again", "")
	harness.Eventually(t, "the containers ended without a daemon", func() error {
		exits, err := filepath.Glob(filepath.Join(d.Run(), "exits", "*.json"))
		if err == nil && len(exits) < 2 {
			err = fmt.Errorf("exit records: %v", exits)
		}
		return err
	})
	d.Launch()
	after := ps(d, dir)
	if got := after["crash-dies-1"]; got.State != "exited" || got.ExitCode != 42 {
		t.Errorf("dies: %+v", got)
	}
	harness.Eventually(t, "the policy is applied", func() error {
		if got := ps(d, dir)["crash-again-1"]; got.State != "running" {
			return fmt.Errorf("again: %+v", got)
		}
		return nil
	})
	if after["crash-talker-1"].ID != before["crash-talker-1"].ID || d.Must(dir, "exec", "-T", "talker", "cat", "/proc/1/stat") == "" {
		t.Error("talker was touched")
	}
	_ = pid
	harness.Eventually(t, "all lines are written", func() error {
		if r := d.Gantry(dir, "exec", "-T", "talker", "test", "-e", "/tmp/done"); r.Code != 0 {
			return fmt.Errorf("not done")
		}
		return nil
	})
	lines := strings.Split(strings.TrimSpace(d.Must(dir, "logs", "--no-log-prefix", "--no-color", "talker")), "\n")
	if len(lines) != 2000 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, l := range lines {
		if l != "line "+strconv.Itoa(i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}

// The daemon is killed at arbitrary moments of up; up again completes it, and
// down leaves nothing.
func TestUpKilledAnywhereIsCompletedByUp(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "x")
	for round := range 4 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			cmd := d.Command(dir, "up", "-d", "--wait")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pause := time.NewTimer(time.Duration(rand.IntN(600)) * time.Millisecond) // where it hits is meant to vary
			<-pause.C
			if round%2 == 0 {
				d.Kill9()
				cmd.Wait()
				d.Launch()
			} else {
				cmd.Process.Kill()
				cmd.Wait()
			}
			d.Must(dir, "up", "-d", "--wait")
			expectState(d, dir, map[string]string{"stack-app-1": "running", "stack-db-1": "running", "stack-setup-1": "exited", "stack-web-1": "running"})
			d.Must(dir, "down", "-v", "-t", "0")
			d.NoLeaks()
			if vols, _ := os.ReadDir(filepath.Join(d.Data(), "volumes")); len(vols) > 0 {
				t.Errorf("volumes left: %v", vols)
			}
		})
	}
}

func TestRebootBringsBackWhatRanInOrderAndLeavesStoppedAlone(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("boot", `
name: boot
services:
  db:
    image: busybox
    command: [sh, -c, "sleep 0.3; cat /proc/uptime > /d/db; touch /tmp/ok; exec sleep 1000"]
    init: true
    volumes: ["./d:/d"]
    tmpfs: [/tmp]
    healthcheck: {test: [CMD, test, -e, /tmp/ok], interval: 1s}
    restart: always
    ports: ["127.0.0.1::80"]
  app:
    image: busybox
    command: [sh, -c, "cat /d/db > /d/app-saw; cat /proc/uptime > /d/app; exec sleep 1000"]
    init: true
    volumes: ["./d:/d"]
    depends_on: {db: {condition: service_healthy}}
    restart: unless-stopped
  stopped: {image: busybox, command: [sleep, "1000"], init: true, restart: always}
  without: {image: busybox, command: [sleep, "1000"], init: true}
`, "d/.keep", "")
	d.Must(dir, "up", "-d", "--wait")
	d.Must(dir, "stop", "-t", "0", "stopped")
	first, err := os.ReadFile(filepath.Join(dir, "d/db"))
	if err != nil {
		t.Fatal(err)
	}
	d.Reboot()
	d.Launch()
	harness.Eventually(t, "the stack is back", func() error {
		rows := ps(d, dir)
		if rows["boot-db-1"].Health != "healthy" || rows["boot-app-1"].State != "running" {
			return fmt.Errorf("%v", rows)
		}
		return nil
	})
	expectState(d, dir, map[string]string{"boot-app-1": "running", "boot-db-1": "running", "boot-stopped-1": "exited", "boot-without-1": "exited"})
	saw, err := os.ReadFile(filepath.Join(dir, "d/app-saw"))
	if err != nil {
		t.Fatal(err)
	}
	if db, _ := os.ReadFile(filepath.Join(dir, "d/db")); string(saw) != string(db) || string(db) == string(first) {
		t.Errorf("app was started before db was ready again: it saw %q, db wrote %q, before the reboot %q", saw, db, first)
	}
	if got := d.Must(dir, "exec", "-T", "app", "nslookup", "db"); !strings.Contains(got, "Address") {
		t.Errorf("names after the reboot: %q", got)
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}
