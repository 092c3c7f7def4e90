package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"gantry/tests/harness"
)

// Recovery waits for what is not healthy, but not while a person waits for it.
func TestRecoveryGivesWayToAPerson(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("slow", `
name: slow
services:
  db:
    image: busybox
    command: [sleep, "1000"]
    volumes: ["./d:/d"]
    healthcheck: {test: [CMD, test, -e, /d/ok], interval: 1s, retries: 100000}
    restart: always
  app:
    image: busybox
    command: [sleep, "1000"]
    depends_on: {db: {condition: service_healthy}}
    restart: always
`, "d/ok", "")
	d.Must(dir, "up", "-d")
	d.Reboot()
	if err := os.Remove(filepath.Join(dir, "d/ok")); err != nil {
		t.Fatal(err)
	}
	d.Launch()
	harness.Eventually(t, "the dependency is back", func() error {
		if got := ps(d, dir)["slow-db-1"]; got.State != "running" {
			return fmt.Errorf("db: %+v", got)
		}
		return nil
	})
	if got := ps(d, dir)["slow-app-1"]; got.State != "restarting" {
		t.Errorf("app does not wait: %+v", got)
	}
	d.Must(dir, "stop", "-t", "0", "app") // long before the wait for db's health ends
	if got := ps(d, dir)["slow-app-1"]; got.State != "exited" {
		t.Errorf("app: %+v", got)
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}
