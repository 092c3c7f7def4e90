package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// Every one of these is one clear error that says where, and changes nothing.
func TestBadInputIsExplainedAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	good := "  good: {image: busybox, command: [sleep, '1000']}\n"
	for _, tc := range []struct {
		name, compose string
		want          []string
	}{
		{"port in use", fmt.Sprintf("services:\n%s  web:\n    image: busybox\n    ports:\n      - \"127.0.0.1:%d:80\"\n", good, port), []string{"web", fmt.Sprint(port), "compose.yaml:6"}},
		{"missing image", "services:\n" + good + "  web:\n    image: 127.0.0.1:1/none:1\n", []string{"web", "127.0.0.1:1/none:1", "compose.yaml:4"}},
		{"image never pulled", "services:\n" + good + "  web:\n    image: nothere\n    pull_policy: never\n", []string{"web", "nothere"}},
		{"missing bind source", "services:\n" + good + "  web:\n    image: busybox\n    volumes:\n      - {type: bind, source: ./none, target: /x, bind: {create_host_path: false}}\n", []string{"web", "none", "compose.yaml:6"}},
		{"unknown network", "services:\n" + good + "  web:\n    image: busybox\n    networks: [nowhere]\n", []string{"web", "nowhere"}},
		{"missing external network", "services:\n" + good + "  web:\n    image: busybox\n    networks: [out]\nnetworks: {out: {external: true}}\n", []string{"out"}},
		{"dependency cycle", "services:\n" + good + "  a: {image: busybox, depends_on: [b]}\n  b: {image: busybox, depends_on: [a]}\n", []string{"cycle", "a", "b"}},
		{"malformed YAML", "services:\n  web:\n    image: [\n", []string{"compose.yaml:3"}},
		{"unset required variable", "services:\n" + good + "  web:\n    image: busybox\n    command: ['${GANTRY_TEST_UNSET:?give it a value}']\n", []string{"GANTRY_TEST_UNSET", "give it a value"}},
		{"unsupported key", "services:\n" + good + "  web:\n    image: busybox\n    storage_opt: {size: 1g}\n", []string{"compose.yaml:5:5", "storage_opt", "--ignore-unsupported"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := d.Project("bad", tc.compose)
			r := d.Fail(dir, "up", "-d")
			for _, w := range tc.want {
				if !strings.Contains(r.Stderr, w) {
					t.Errorf("the error does not mention %q:\n%s", w, r.Stderr)
				}
			}
			if left := ps(d, d.Project("empty", "name: bad\nservices: {x: {image: busybox}}\n")); len(left) > 0 {
				t.Errorf("containers were made: %v", left)
			}
			nets, err := filepath.Glob(filepath.Join(d.Data(), "networks", "bad*"))
			if err != nil || len(nets) > 0 {
				t.Errorf("networks were made: %v %v", nets, err)
			}
		})
	}
}

func TestWaitTellsWhyAServiceIsUnhealthy(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("sick", `
services:
  sick:
    image: busybox
    command: [sh, -c, "echo starting up; exec sleep 1000"]
    init: true
    healthcheck: {test: [CMD-SHELL, "echo the probe says no; exit 3"], interval: 200ms, retries: 2}
`)
	r := d.Fail(dir, "up", "-d", "--wait")
	for _, w := range []string{"sick", "unhealthy", "the probe says no", "starting up"} {
		if !strings.Contains(r.Stderr, w) {
			t.Errorf("no word of %q in:\n%s", w, r.Stderr)
		}
	}
}

func TestWaitFailsOnACrashLoop(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("loop", `
services:
  loop: {image: busybox, command: [sh, -c, "echo I cannot go on; exit 7"], restart: always}
  dependant: {image: busybox, command: [sleep, "1000"], init: true, depends_on: [loop]}
`)
	r := d.Fail(dir, "up", "-d", "--wait")
	for _, w := range []string{"loop", "7", "I cannot go on"} {
		if !strings.Contains(r.Stderr, w) {
			t.Errorf("no word of %q in:\n%s", w, r.Stderr)
		}
	}
}

func TestFailedDependencySkipsItsDependantsOnly(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("skip", `
name: skip
services:
  setup: {image: busybox, command: ["false"]}
  app: {image: busybox, command: [sleep, "1000"], init: true, depends_on: {setup: {condition: service_completed_successfully}}}
  optional: {image: busybox, command: [sleep, "1000"], init: true, depends_on: {setup: {condition: service_completed_successfully, required: false}}}
  other: {image: busybox, command: [sleep, "1000"], init: true}
`)
	d.Fail(dir, "up", "-d")
	expectState(d, dir, map[string]string{"skip-setup-1": "exited", "skip-app-1": "created", "skip-optional-1": "running", "skip-other-1": "running"})
}

func TestEnvironmentFilesAreNotNeededByTheDaemon(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("env", "name: env\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true, env_file: [a.env]}}\n", "a.env", "FROM_FILE=yes\n", ".env", "")
	d.Must(dir, "up", "-d")
	if err := os.Remove(filepath.Join(dir, "a.env")); err != nil {
		t.Fatal(err)
	}
	d.Must(d.Dir, "-p", "env", "restart")
	if got := d.Must(d.Dir, "-p", "env", "exec", "-T", "a", "sh", "-c", "echo $FROM_FILE"); got != "yes\n" {
		t.Errorf("environment: %q", got)
	}
}

// A container that could not be started keeps nothing from the one that takes
// its place.
func TestFixedAddressAfterAFailedStart(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	yaml := `
services:
  web:
    image: busybox
    command: [nosuch]
    stop_grace_period: 0s
    networks: {front: {ipv4_address: 10.214.7.9, link_local_ips: [169.254.7.9]}}
networks:
  front: {ipam: {config: [{subnet: 10.214.7.0/24}]}}
`
	dir := d.Project("fixed", yaml)
	d.Fail(dir, "up", "-d")
	d.Write("fixed/compose.yaml", strings.Replace(yaml, "[nosuch]", "[/bin/nosuch]", 1))
	d.Fail(dir, "up", "-d")
	d.Write("fixed/compose.yaml", strings.Replace(yaml, "[nosuch]", "[sleep, '1000']", 1))
	d.Must(dir, "up", "-d", "--wait")
	got := d.Must(dir, "exec", "-T", "web", "ip", "-4", "-o", "addr", "show", "eth0")
	for _, want := range []string{"10.214.7.9/24", "169.254.7.9/16"} {
		if !strings.Contains(got, want) {
			t.Errorf("no address %s in %s", want, got)
		}
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}
