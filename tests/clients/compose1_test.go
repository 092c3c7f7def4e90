package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Debian's docker-compose is version 1, in Python.
func TestDockerCompose1(t *testing.T) {
	t.Parallel()
	d := start(t)
	dir := d.Project("shop", `
version: "3.8"
services:
  web:
    image: busybox:test
    command: sh -c "mkdir /www; echo hello > /www/index.html; echo serving; exec httpd -f -p 80 -h /www"
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data"]
    depends_on: [db]
  db:
    image: busybox:test
    command: sh -c "echo db up; exec sleep 1000"
    init: true
    environment: {LEVEL: one}
    healthcheck: {test: "true", interval: 1s}
volumes: {data: {}}
`)
	compose := func(args ...string) string {
		t.Helper()
		return run(t, d, dir, "/usr/bin/docker-compose", append([]string{"--no-ansi"}, args...)...)
	}
	compose("up", "-d")
	ids := compose("ps", "-q")
	want(t, "ps", compose("ps"), "shop_db_1", "shop_web_1", "Up", "127.0.0.1:", "->80/tcp")
	want(t, "logs", compose("logs", "--no-color"), "db up", "serving")
	if out := compose("exec", "-T", "web", "sh", "-c", "wget -qO- http://web/; nslookup db >/dev/null && echo found"); out != "hello\nfound\n" {
		t.Errorf("exec printed %q", out)
	}
	file := filepath.Join(dir, "compose.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), "LEVEL: one", "LEVEL: two", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	compose("up", "-d", "--scale", "db=2")
	if out := compose("exec", "-T", "--index", "2", "db", "sh", "-c", "echo $LEVEL"); out != "two\n" {
		t.Errorf("the second db says %q", out)
	}
	if out := compose("run", "--rm", "-T", "db", "echo", "once"); out != "once\n" {
		t.Errorf("run printed %q", out)
	}
	if again := compose("ps", "-q", "web"); !strings.Contains(ids, again) {
		t.Errorf("what did not change was made anew: %s, before %s", again, ids)
	}
	compose("stop", "-t", "1", "db")
	want(t, "ps of stopped", compose("ps"), "Exit")
	compose("down", "-v", "-t", "1")
	d.NoLeaks()
}
