package e2e

import (
	"strings"
	"testing"

	"gantry/tests/harness"
)

// A link's name is one for all replicas of the linked service, and known to
// nobody else.
func TestLinksGiveOtherNames(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("shop", `
name: shop
services:
  web: {image: busybox, command: [sleep, "1000"], init: true, links: ["db:store"]}
  db: {image: busybox, command: [sleep, "1000"], init: true, deploy: {replicas: 2}}
`)
	d.Must(dir, "up", "-d")
	if got := d.Must(dir, "exec", "-T", "web", "nslookup", "store", "127.0.0.11"); strings.Count(got, "Address: ") != 2 {
		t.Errorf("store: %s", got)
	}
	if r := d.Fail(dir, "exec", "-T", "db", "nslookup", "store.", "127.0.0.11"); strings.Contains(r.Stdout, "Address: ") {
		t.Errorf("others know it: %v", r)
	}
	if out := d.Must(dir, "up", "-d", "--dry-run"); strings.Contains(out, "ecreate") {
		t.Errorf("up again would do: %s", out)
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}
