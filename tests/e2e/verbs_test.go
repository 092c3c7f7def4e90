package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/harness"
)

const sleepers = `
name: verbs
services:
  a:
    image: busybox
    command: [sh, -c, "trap 'echo got term; exit 0' TERM; echo hello from a; while :; do sleep 0.1; done"]
    labels: {tier: back}
  b:
    image: busybox
    command: [sleep, "1000"]
    init: true
    depends_on: [a]
`

func TestVerbsOnRunningServices(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("verbs", sleepers)
	d.Must(dir, "up", "-d")
	expect := func(a, b string) {
		t.Helper()
		expectState(d, dir, map[string]string{"verbs-a-1": a, "verbs-b-1": b})
	}
	expect("running", "running")
	d.Must(dir, "pause", "b")
	expect("running", "paused")
	d.Must(dir, "unpause", "b")
	expect("running", "running")
	d.Must(dir, "kill", "-s", "KILL", "b")
	expect("running", "exited")
	if code := ps(d, dir)["verbs-b-1"].ExitCode; code != 137 {
		t.Errorf("exit code of a killed container: %d", code)
	}
	d.Must(dir, "start", "b")
	expect("running", "running")
	d.Must(dir, "stop")
	expect("exited", "exited")
	if got := d.Must(dir, "logs", "--no-log-prefix", "--no-color", "a"); !strings.Contains(got, "hello from a\n") || !strings.Contains(got, "got term\n") {
		t.Errorf("logs of a: %q", got)
	}
	d.Must(dir, "restart", "a")
	expect("running", "exited")
	d.Must(dir, "rm", "-f", "b")
	expectState(d, dir, map[string]string{"verbs-a-1": "running"})
	d.Must(dir, "up", "-d", "--scale", "b=3")
	expectState(d, dir, map[string]string{"verbs-a-1": "running", "verbs-b-1": "running", "verbs-b-2": "running", "verbs-b-3": "running"})
	if got := strings.TrimSpace(d.Must(dir, "exec", "-T", "--index", "2", "b", "hostname")); !strings.HasPrefix(ps(d, dir)["verbs-b-2"].ID, got) {
		t.Errorf("--index 2 entered %q", got)
	}
	d.Must(dir, "up", "-d", "--scale", "b=1")
	expectState(d, dir, map[string]string{"verbs-a-1": "running", "verbs-b-1": "running"})
	d.Write("verbs/compose.yaml", strings.ReplaceAll(sleepers, "  b:\n", "  c:\n"))
	d.Must(dir, "up", "-d", "--remove-orphans")
	expectState(d, dir, map[string]string{"verbs-a-1": "running", "verbs-c-1": "running"})
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}

func TestExecPassesStreamsAndExitCodes(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("exec", "name: exec\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true, environment: {A: service}}}\n")
	d.Must(dir, "up", "-d")
	if r := d.Gantry(dir, "exec", "-T", "a", "sh", "-c", "echo out; echo err >&2; exit 9"); r.Code != 9 || r.Stdout != "out\n" || !strings.Contains(r.Stderr, "err") {
		t.Error(r)
	}
	if r := d.GantryInput(dir, "typed\n", "exec", "-T", "a", "cat"); r.Stdout != "typed\n" {
		t.Error(r)
	}
	if r := d.Gantry(dir, "exec", "-T", "-e", "A=exec", "-u", "7:8", "-w", "/bin", "a", "sh", "-c", "echo $A; id -u; id -g; pwd"); r.Stdout != "exec\n7\n8\n/bin\n" {
		t.Error(r)
	}
	if r := d.Gantry(dir, "exec", "-T", "a", "/no/such/program"); r.Code != 127 && r.Code != 126 {
		t.Error(r)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	if r := d.GantryInput(dir, big, "exec", "-T", "a", "cat"); r.Stdout != big {
		t.Errorf("of %d bytes through cat came back %d", len(big), len(r.Stdout))
	}
}

func TestRunIsAOneOffWithDependencies(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("run", `
name: run
services:
  app: {image: busybox, command: [sleep, "1000"], environment: {A: file}, ports: ["127.0.0.1::80"], depends_on: [db]}
  db: {image: busybox, command: [sleep, "1000"], init: true}
`)
	r := d.GantryInput(dir, "typed\n", "run", "--rm", "-T", "-e", "A=flag", "-v", d.Dir+":/mnt:ro", "app", "sh", "-c", "read x; echo $x $A; test -d /mnt/run && ping -c1 -W5 db >/dev/null && exit 5")
	if r.Code != 5 || r.Stdout != "typed flag\n" {
		t.Error(r)
	}
	expectState(d, dir, map[string]string{"run-db-1": "running"})
	if r := d.Gantry(dir, "run", "--rm", "-T", "--no-deps", "--entrypoint", "echo", "app", "hi"); r.Stdout != "hi\n" || r.Code != 0 {
		t.Error(r)
	}
	id := strings.TrimSpace(d.Must(dir, "run", "-d", "--service-ports", "--name", "mine", "app"))
	if id == "" {
		t.Error("run -d prints nothing")
	}
	d.Must(dir, "down", "-t", "0", "--remove-orphans")
	d.NoLeaks()
}

func TestCommitMakesAnImageWithTheChange(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("commit", "name: commit\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true}}\n")
	d.Must(dir, "up", "-d")
	d.Must(dir, "exec", "-T", "a", "sh", "-c", "echo changed > /etc/marker")
	d.Must(dir, "commit", "a", "changed:1")
	d.Must(dir, "down", "-t", "0")
	two := d.Project("two", "name: two\nservices: {a: {image: 'changed:1'}}\n")
	if got := d.Must(two, "run", "--rm", "-T", "a", "cat", "/etc/marker"); got != "changed\n" {
		t.Errorf("in the new image: %q", got)
	}
}

func TestAttachedUpEndsWithTheChosenExitCode(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("attached", `
name: attached
services:
  server: {image: busybox, command: [sleep, "1000"], init: true}
  test: {image: busybox, command: [sh, -c, "echo testing; exit 6"], depends_on: [server]}
`)
	r := d.Gantry(dir, "up", "--exit-code-from", "test")
	if r.Code != 6 || !strings.Contains(r.Stdout, "testing") {
		t.Error(r)
	}
	for name, s := range ps(d, dir) {
		if s.State != "exited" {
			t.Errorf("%s is %s", name, s.State)
		}
	}
}

func TestLogsOfSeveralServicesComeInTimeOrder(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("logs", `
name: logs
services:
  one: {image: busybox, command: [sh, -c, "echo 1; touch /d/1; while [ ! -e /d/2 ]; do sleep 0.01; done; echo 3; touch /d/3"], volumes: ["./d:/d"]}
  two: {image: busybox, command: [sh, -c, "while [ ! -e /d/1 ]; do sleep 0.01; done; echo 2; touch /d/2; while [ ! -e /d/3 ]; do sleep 0.01; done; echo 4"], volumes: ["./d:/d"]}
`, "d/.keep", "")
	d.Must(dir, "up")
	if got := d.Must(dir, "logs", "--no-log-prefix", "--no-color"); got != "1\n2\n3\n4\n" {
		t.Errorf("logs: %q", got)
	}
	if got := d.Must(dir, "logs", "--no-log-prefix", "--no-color", "-n", "1", "two"); got != "4\n" {
		t.Errorf("last line of two: %q", got)
	}
}

func TestLogsRotateAndNoneKeepsNothing(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("rotate", `
name: rotate
services:
  many: {image: busybox, command: [sh, -c, "seq 1 20000"], logging: {driver: json-file, options: {max-size: 100k, max-file: "2"}}}
  silent: {image: busybox, command: [sh, -c, "seq 1 20000"], logging: {driver: none}}
`)
	d.Must(dir, "up", "-d")
	d.Must(dir, "wait", "many")
	lines := strings.Fields(d.Must(dir, "logs", "--no-log-prefix", "--no-color", "many"))
	if len(lines) == 0 || len(lines) > 6000 || lines[len(lines)-1] != "20000" {
		t.Fatalf("%d lines, last %q", len(lines), lines[len(lines)-1])
	}
	for i := 1; i < len(lines); i++ {
		var a, b int
		fmt.Sscan(lines[i-1], &a)
		fmt.Sscan(lines[i], &b)
		if b != a+1 {
			t.Fatalf("after %d comes %d", a, b)
		}
	}
}

func TestExecIsNoSuccessWhenItsShimIsKilled(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("shot", "name: shot\nservices: {a: {image: busybox, command: [sleep, '1000'], init: true}}\n")
	d.Must(dir, "up", "-d")
	cmd := d.Command(dir, "exec", "-T", "a", "sh", "-c", "touch /tmp/here; sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the command runs", func() error {
		if r := d.Gantry(dir, "exec", "-T", "a", "test", "-e", "/tmp/here"); r.Code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	for _, pid := range d.Shims() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the command was killed, and exec says that it succeeded")
	}
}
