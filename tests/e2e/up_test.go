// Package e2e runs the real programs as a user would. Each test states one
// intent and asks for state, not for output.
package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

// row is what ps tells of a container.
type row struct {
	ID, Name, Service, State, Health, Image string
	ExitCode                                int
}

// ps lists a project's containers, stopped ones too, by name.
func ps(d *harness.Daemon, dir string) map[string]row {
	d.T.Helper()
	out := map[string]row{}
	dec := json.NewDecoder(strings.NewReader(d.Must(dir, "ps", "-a", "--no-trunc", "--format", "json")))
	for dec.More() {
		var r row
		if err := dec.Decode(&r); err != nil {
			d.T.Fatal(err)
		}
		out[r.Name] = r
	}
	return out
}

func expectState(d *harness.Daemon, dir string, want map[string]string) {
	d.T.Helper()
	got := map[string]string{}
	for name, r := range ps(d, dir) {
		got[name] = r.State
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		d.T.Fatalf("containers are %v, want %v", got, want)
	}
}

const stack = `
name: stack
services:
  web:
    image: busybox
    command: [httpd, -f, -p, "80", -h, /www]
    volumes: ["./www:/www:ro"]
    ports: ["127.0.0.1::80"]
    depends_on:
      app: {condition: service_healthy}
  app:
    image: busybox
    command: [sh, -c, "touch /tmp/ready; exec sleep 1000"]
    init: true
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 5s}
    depends_on:
      setup: {condition: service_completed_successfully}
  setup:
    image: busybox
    command: [sh, -c, "echo made > /data/file"]
    volumes: ["data:/data"]
  db:
    image: busybox
    command: [sleep, "1000"]
    stop_grace_period: 1s
    volumes: ["data:/data", /anon]
volumes:
  data:
`

func TestUpRunsAStackAndDownLeavesNothing(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "hello from web")
	d.Must(dir, "up", "-d", "--wait")
	expectState(d, dir, map[string]string{"stack-app-1": "running", "stack-db-1": "running", "stack-setup-1": "exited", "stack-web-1": "running"})
	addr := strings.TrimSpace(d.Must(dir, "port", "web", "80"))
	if page := harness.Page(t, addr); page != "hello from web" {
		t.Errorf("page %q", page)
	}
	if got := d.Must(dir, "exec", "-T", "db", "cat", "/data/file"); got != "made\n" {
		t.Errorf("file in the volume: %q", got)
	}
	if got := d.Must(dir, "exec", "-T", "db", "wget", "-qO-", "http://web/"); got != "hello from web" {
		t.Errorf("by the service's name: %q", got)
	}
	d.Must(dir, "down", "-v", "-t", "0")
	if left := ps(d, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	d.NoLeaks()
}

func TestSecondUpTouchesNothing(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("stack", stack, "www/index.html", "x")
	d.Must(dir, "up", "-d", "--wait")
	before := ps(d, dir)
	if plan := d.Must(dir, "--dry-run", "up", "-d"); strings.Contains(plan, "create") || strings.Contains(plan, "start") {
		t.Errorf("the second plan is not empty:\n%s", plan)
	}
	d.Must(dir, "up", "-d", "--wait")
	if after := ps(d, dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
}

func TestOnlyTheEditedServiceIsReplacedAndKeepsItsAnonymousVolume(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	text := `
name: edit
services:
  db: {image: busybox, command: [sleep, "1000"], volumes: [/anon], init: true}
  app: {image: busybox, command: [sleep, "1000"], init: true, depends_on: {db: {condition: service_started, restart: true}}}
  other: {image: busybox, command: [sleep, "1000"], init: true}
`
	dir := d.Project("edit", text)
	d.Must(dir, "up", "-d")
	d.Must(dir, "exec", "-T", "db", "sh", "-c", "echo kept > /anon/file")
	before := ps(d, dir)
	started := d.Must(dir, "exec", "-T", "app", "cat", "/proc/1/stat")
	d.Write("edit/compose.yaml", strings.Replace(text, "volumes: [/anon]", "volumes: [/anon], environment: {NEW: value}", 1))
	d.Must(dir, "up", "-d")
	after := ps(d, dir)
	if after["edit-db-1"].ID == before["edit-db-1"].ID {
		t.Error("db was not replaced")
	}
	for _, name := range []string{"edit-app-1", "edit-other-1"} {
		if after[name].ID != before[name].ID {
			t.Errorf("%s was replaced", name)
		}
	}
	if d.Must(dir, "exec", "-T", "app", "cat", "/proc/1/stat") == started {
		t.Error("app, which depends on db with restart, was not restarted")
	}
	if got := d.Must(dir, "exec", "-T", "db", "sh", "-c", "cat /anon/file; echo $NEW"); got != "kept\nvalue\n" {
		t.Errorf("in the new db: %q", got)
	}
}

func TestDownKeepsNamedVolumesUnlessToldAndNeverTouchesOthers(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	one := d.Project("one", "name: one\nservices: {a: {image: busybox, command: [sh, -c, 'echo 1 >> /d/f; exec sleep 1000'], init: true, volumes: ['data:/d']}}\nvolumes: {data: }\n")
	two := d.Project("two", "name: two\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true, volumes: ['data:/d', 'ext:/e']}}\nvolumes: {data: , ext: {external: true, name: one_data}}\n")
	holds := func(want string) {
		t.Helper()
		harness.Eventually(t, "the service has written to its volume", func() error {
			if got := d.Gantry(one, "exec", "-T", "a", "cat", "/d/f").Stdout; got != want {
				return fmt.Errorf("it holds %q, want %q", got, want)
			}
			return nil
		})
	}
	d.Must(one, "up", "-d")
	holds("1\n")
	d.Must(one, "down")
	d.Must(one, "up", "-d")
	holds("1\n1\n")
	d.Must(two, "up", "-d")
	d.Must(two, "down", "-v")
	if got := d.Must(one, "exec", "-T", "a", "cat", "/d/f"); got != "1\n1\n" {
		t.Errorf("the other project's down -v: %q", got)
	}
	d.Must(one, "down", "-v")
	left, err := filepath.Glob(filepath.Join(d.Data(), "volumes", "*_data"))
	if err != nil || len(left) > 0 {
		t.Errorf("volumes left after down -v: %v %v", left, err)
	}
}

func TestFreshVolumeTakesTheImagesContentAndOwner(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest", busybox.Layer(
		busybox.File{Path: "/content", Mode: os.ModeDir | 0o750, UID: 33, GID: 44},
		busybox.File{Path: "/content/file", Body: "from the image", UID: 33, GID: 44}))
	dir := d.Project("copy", "services: {a: {image: busybox, command: [sleep, '1000'], init: true, volumes: ['vol:/content', {type: volume, source: n, target: /x, volume: {nocopy: true}}]}}\nvolumes: {vol: , n: }\n")
	d.Must(dir, "up", "-d")
	if got := d.Must(dir, "exec", "-T", "a", "sh", "-c", "stat -c '%u %g %a' /content; cat /content/file"); got != "33 44 750\nfrom the image" {
		t.Errorf("volume: %q", got)
	}
}
