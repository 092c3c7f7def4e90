package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// A daemon that goes away while it brings a stack back after a reboot has not
// forgotten, the next time, what it had not come to.
func TestSecondCrashDuringRecoveryForgetsNothing(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("twice", `
name: twice
services:
  db: {image: busybox, command: [sleep, "1000"], init: true, restart: always, volumes: ["./d:/d"], healthcheck: {test: [CMD, test, -e, /d/ok], interval: 1s, retries: 1000}}
  app: {image: busybox, command: [sleep, "1000"], init: true, restart: always, depends_on: {db: {condition: service_healthy}}}
`, "d/ok", "")
	d.Must(dir, "up", "-d", "--wait")
	d.Must(dir, "exec", "-T", "db", "rm", "/d/ok")
	d.Reboot()
	d.Launch()
	harness.Eventually(t, "db is back, and app waits for it", func() error {
		if rows := ps(d, dir); rows["twice-db-1"].State != "running" || rows["twice-app-1"].State == "running" {
			return fmt.Errorf("%v", rows)
		}
		return nil
	})
	d.Stop()
	d.Write("twice/d/ok", "")
	d.Launch()
	harness.Eventually(t, "app is back", func() error {
		if rows := ps(d, dir); rows["twice-app-1"].State != "running" {
			return fmt.Errorf("%v", rows)
		}
		return nil
	})
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}

func TestDaemonThatIsToldToStopLeavesContainersAlone(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stay", "name: stay\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true}}\n")
	d.Must(dir, "up", "-d")
	started := d.Must(dir, "exec", "-T", "a", "cat", "/proc/1/stat")
	d.Stop()
	d.Launch()
	if now := d.Must(dir, "exec", "-T", "a", "cat", "/proc/1/stat"); strings.Fields(now)[21] != strings.Fields(started)[21] {
		t.Errorf("before %s\nafter  %s", started, now)
	}
}

func TestSecondDaemonOnARootInUseIsRefused(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	gantry := filepath.Join(harness.Binaries(t), "gantry")
	for _, roots := range [][2]string{{d.Data(), d.Dir + "/run2"}, {d.Dir + "/data2", d.Run()}} {
		out, err := exec.Command(gantry, "daemon", "--data-root", roots[0], "--exec-root", roots[1], "--config-file", d.Write("empty.json", "{}")).CombinedOutput()
		if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by another daemon (pid %d)", d.Pid())) {
			t.Errorf("%v: %v\n%s", roots, err, out)
		}
	}
	d.Must(d.Dir, "ls")
}

func TestDaemonsNameServersAreContainersOwn(t *testing.T) {
	t.Parallel()
	d := harness.Start(t, `"dns": ["192.0.2.7"]`, `"dns-search": ["example.test"]`, `"dns-opts": ["ndots:3"]`)
	d.Busybox("busybox:latest")
	dir := d.Project("names", `
name: names
services:
  plain: {image: busybox, command: [sleep, "1000"], init: true, network_mode: bridge}
  own: {image: busybox, command: [sleep, "1000"], init: true, network_mode: bridge, dns: 192.0.2.8, dns_search: own.test}
`)
	d.Must(dir, "up", "-d")
	for service, want := range map[string][]string{"plain": {"192.0.2.7", "search example.test", "ndots:3"}, "own": {"192.0.2.8", "search own.test", "ndots:3"}} {
		got := d.Must(dir, "exec", "-T", service, "cat", "/etc/resolv.conf")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s has no %q:\n%s", service, w, got)
			}
		}
	}
	d.Must(dir, "down", "-t", "0")
}
