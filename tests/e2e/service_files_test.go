package e2e

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"gantry/tests/harness"
)

const keeper = `
name: safe
services:
  app:
    image: busybox
    command: [sleep, "1000"]
    init: true
    user: "7"
    read_only: true
    secrets: [token, {source: owned, target: /etc/owned, uid: "7", gid: "8", mode: 0400}]
    configs: [{source: text, target: /etc/app/app.conf}]
secrets:
  token: {environment: TOKEN}
  owned: {file: ./owned}
configs:
  text: {content: "greeting=${GREETING}\n"}
`

// What comes from the environment reaches the container, outlives daemons, is
// replaced when it changes, and is told to nobody else.
func TestSecretsFromTheEnvironmentReachTheContainerAlone(t *testing.T) {
	t.Parallel()
	const first, second = "s3cr3t-of-today", "s3cr3t-of-tomorrow"
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("safe", keeper, "owned", "mine\n", ".env", "GREETING=hello\nTOKEN="+first+"\n")
	d.Must(dir, "up", "-d")
	in := func(script string) string {
		t.Helper()
		return strings.TrimSpace(d.Must(dir, "exec", "-T", "app", "sh", "-c", script))
	}
	for script, want := range map[string]string{
		"cat /run/secrets/token":                              first,
		"cat /etc/owned; stat -c '%u %g %a' /etc/owned":       "mine\n7 8 400",
		"cat /etc/app/app.conf; stat -c %a /etc/app/app.conf": "greeting=hello\n444",
		"echo x 2>&- >/run/secrets/token || echo read-only":   "read-only",
	} {
		if got := in(script); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	if plan := d.Must(dir, "--dry-run", "up", "-d"); plan != "" {
		t.Errorf("nothing changed, yet there is a plan:\n%s", plan)
	}
	before := ids(d, dir)

	d.Kill9()
	d.Launch()
	d.Must(dir, "restart", "-t", "0")
	if got := in("cat /run/secrets/token"); got != first {
		t.Errorf("after a restart under another daemon: %q", got)
	}
	d.Write("safe/.env", "GREETING=hello\nTOKEN="+second+"\n")
	plan := d.Must(dir, "--dry-run", "up", "-d")
	if !strings.Contains(plan, "secret token changed") {
		t.Errorf("the plan does not tell why:\n%s", plan)
	}
	d.Must(dir, "up", "-d", "-t", "0")
	if got := in("cat /run/secrets/token"); got != second || ids(d, dir)["safe-app-1"] == before["safe-app-1"] {
		t.Errorf("after the change: %q", got)
	}

	for what, told := range map[string]string{
		"inspect": d.MustDocker("inspect", "safe-app-1"), "config": d.Must(dir, "config"), "plan": plan, "the daemon's log": d.Log(), "events": d.MustDocker("events", "--since", "1h", "--until", "0s"),
	} {
		if strings.Contains(told, first) || strings.Contains(told, second) {
			t.Errorf("%s tells a secret:\n%s", what, told)
		}
	}
	own := 0
	harness.Files(t, d.Data(), func(path string, info fs.FileInfo) {
		content, err := os.ReadFile(path)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			t.Error(err)
		case bytes.Contains(content, []byte(first)):
			t.Errorf("%s has what was replaced", path)
		case bytes.Contains(content, []byte(second)) && strings.Contains(path, "/containers/") && strings.Contains(path, "/files/"):
			own++
		case bytes.Contains(content, []byte(second)):
			t.Errorf("%s has a secret", path)
		}
	})
	if own != 1 {
		t.Errorf("%d files have the secret, want the container's own alone", own)
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}

// Hooks run in their container after each start and before each stop, and their
// failure is the command's.
func TestHooksRunAfterStartsAndBeforeStops(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	yaml := `
name: hooks
services:
  db:
    image: busybox
    user: "7"
    command: [sleep, "1000"]
    init: true
    volumes: ["./out:/out"]
    post_start:
      - {command: [sh, -c, "sleep 0.3; echo $$(id -u) $$A >>/out/log"], user: root, environment: {A: started}}
    pre_stop:
      - {command: [sh, -c, "echo stops >>/out/log"], user: root}
  web:
    image: busybox
    command: [sh, -c, "echo web >>/out/log; exec sleep 1000"]
    init: true
    volumes: ["./out:/out"]
    depends_on: [db]
`
	dir := d.Project("hooks", yaml)
	log := func(want string) {
		t.Helper()
		b, _ := os.ReadFile(dir + "/out/log")
		os.Remove(dir + "/out/log")
		if got := strings.Join(strings.Fields(string(b)), " "); got != want {
			t.Errorf("log %q, want %q", got, want)
		}
	}
	d.Must(dir, "up", "-d", "--wait")
	log("0 started web")
	d.Must(dir, "restart", "-t", "0", "db")
	log("stops 0 started")
	d.Must(dir, "stop", "-t", "0")
	log("stops")
	d.Must(dir, "start", "db")
	log("0 started")
	d.Must(dir, "down", "-t", "0")
	log("stops")

	d.Write("hooks/compose.yaml", strings.Replace(yaml, "echo stops >>/out/log", "test -e /may", 1)+`    post_start:
      - {command: [sh, -c, 'echo one >>/out/log']}
      - {command: [sh, -c, 'echo the last words; test -e /ok || exit 3']}
      - {command: [sh, -c, 'echo three >>/out/log']}
  last: {image: busybox, command: [sh, -c, "echo last >>/out/log; exec sleep 1000"], init: true, volumes: ["./out:/out"], depends_on: [web]}
`)
	r := d.Fail(dir, "up", "-d")
	for _, want := range []string{"post_start", "service \"web\"", "exit code 3", "the last words"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("the failure does not tell %q:\n%s", want, r.Stderr)
		}
	}
	log("0 started web one")

	// the next up does what is left, once, before whatever waits for it
	d.Fail(dir, "up", "-d")
	d.Kill9()
	d.Launch()
	d.Must(dir, "exec", "web", "touch", "/ok")
	d.Must(dir, "up", "-d", "--wait")
	log("three last")
	d.Must(dir, "up", "-d")
	log("")

	// what must not stop does not
	if r := d.Fail(dir, "down", "-t", "0"); !strings.Contains(r.Stderr, "kill ends it without hooks") {
		t.Errorf("the failure does not tell what to do:\n%s", r.Stderr)
	}
	if got := d.Must(dir, "ps", "--services"); got != "db\n" {
		t.Errorf("after the failure there is %q", got)
	}
	d.Must(dir, "kill")
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}
