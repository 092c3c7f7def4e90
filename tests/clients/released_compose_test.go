//go:build clients

package clients_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/harness"
)

var composes = []string{"docker-compose2", "docker-compose5"}

const shop = `
services:
  web:
    image: busybox:test
    command: sh -c "mkdir -p /www; echo hello > /www/index.html; echo serving; exec httpd -f -p 80 -h /www"
    ports: ["127.0.0.1::80"]
    volumes:
      - data:/data
      - ./src:/src:ro
      - {type: tmpfs, target: /scratch, tmpfs: {size: 1m, mode: 01777}}
      - {type: volume, source: kept, target: /kept, volume: {nocopy: true}}
      - small:/small
    depends_on:
      db: {condition: service_healthy, restart: true}
      migrate: {condition: service_completed_successfully}
    secrets: [password, {source: token, target: /etc/token}]
    configs: [{source: inline, target: /etc/app.conf, mode: 0400}]
    networks: {front: {aliases: [www]}, back: {ipv4_address: 10.77.5.20}}
    extra_hosts: ["host.docker.internal:host-gateway", "foo=10.1.1.1"]
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    sysctls: {net.core.somaxconn: 512}
    init: true
    stop_signal: SIGINT
    restart: unless-stopped
    healthcheck: {test: wget -qO- http://127.0.0.1/ >/dev/null, interval: 1s, start_period: 1s}
    mem_limit: 64m
  db:
    image: busybox:test
    command: sh -c "echo db up; exec sleep 1000"
    init: true
    environment: {LEVEL: one}
    healthcheck: {test: ["CMD", "true"], interval: 1s}
    networks: [back]
    deploy: {replicas: 2}
  migrate:
    image: busybox:test
    command: touch /data/migrated
    volumes: [data:/data]
    network_mode: none
  extra:
    image: busybox:test
    profiles: [extra]
    command: sleep 1000
    init: true
networks:
  front: {}
  back: {internal: true, ipam: {config: [{subnet: 10.77.5.0/24}]}}
volumes:
  data: {}
  kept: {external: true}
  small: {driver_opts: {type: tmpfs, device: tmpfs, o: size=2m}}
secrets:
  password: {environment: PASSWORD}
  token: {file: ./token}
configs:
  inline: {content: "level ${PASSWORD}\n"}
`

func TestReleasedComposes(t *testing.T) {
	for _, program := range composes {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			r := release(t, program)
			r.d.MustDocker("volume", "create", "kept")
			// Docker Compose's subnet is the file's: two tests have two
			r.in("shop", strings.ReplaceAll(shop, "10.77.5.", map[string]string{composes[0]: "10.77.5.", composes[1]: "10.77.6."}[program]), "token", "from a file\n", "src/file", "bound\n")
			r.env = []string{"PASSWORD=from the environment"}

			r.do("up", "-d", "--wait")
			first := r.ps()
			if len(first) != 4 {
				t.Errorf("containers %v", first)
			}
			r.do("up", "-d")
			r.same("an up with nothing to do", first)
			if got := r.do("exec", "-T", "web", "sh", "-c", "cat /run/secrets/password /etc/token /etc/app.conf /src/file; ls /data /kept; ulimit -Hn; cat /proc/sys/net/core/somaxconn; wget -qO- http://www/; nslookup db | grep -c Address.*10.77"); got !=
				"from the environmentfrom a file\nlevel from the environment\nbound\n/data:\nmigrated\n\n/kept:\n2000\n512\nhello\n2\n" {
				t.Errorf("in web there is %q", got)
			}
			want(t, "mounts", r.do("exec", "-T", "web", "mount"), "tmpfs on /scratch", "size=1024k", "tmpfs on /small", "size=2048k")
			want(t, "hosts", r.do("exec", "-T", "web", "cat", "/etc/hosts"), "host.docker.internal", "10.1.1.1\tfoo")
			if got := strings.TrimSpace(r.do("port", "web", "80")); harness.Page(t, got) != "hello\n" {
				t.Errorf("no page at %s", got)
			}
			r.verbs()
			r.changes(r.ps())

			r.do("--profile", "extra", "down", "-v", "--remove-orphans", "-t", "1")
			if left := r.d.MustDocker("volume", "ls", "-q"); left != "kept\n" {
				t.Errorf("down left volumes %q", left)
			}
			r.d.MustDocker("volume", "rm", "kept")
			r.d.NoLeaks()
		})
	}
}

// verbs runs what looks at a project, or disturbs it for a while.
func (r *released) verbs() {
	t := r.t
	t.Helper()
	events := r.follow("events", "--json")
	want(t, "ps", r.do("ps", "-a"), "shop-web-1", "(healthy)", "->80/tcp", "Exited (0)")
	want(t, "ls", r.do("ls"), "shop", "running(3)")
	want(t, "top", r.do("top"), "httpd -f -p 80", "sleep 1000")
	want(t, "images", r.do("images"), "shop-web-1", "busybox", "test")
	want(t, "stats", r.do("stats", "--no-stream"), "shop-web-1", "64MiB")
	want(t, "volumes", r.do("volumes"), "shop_data", "shop_small")
	want(t, "logs", r.do("logs", "--no-color", "--timestamps"), "web-1", "serving", "db-2")
	want(t, "gantry ls", r.d.Must(r.d.Dir, "ls"), "shop", "running(3)")
	if got := r.do("run", "--rm", "-T", "--no-deps", "-e", "X=1", "-w", "/tmp", "-u", "7:8", "-v", "kept:/kept", "db", "sh", "-c", "echo $X $PWD $(id -u) $LEVEL; ls -d /kept"); got != "1 /tmp 7 one\n/kept\n" {
		t.Errorf("run printed %q", got)
	}
	file := r.d.Write("copied", "copied\n")
	r.do("cp", file, "db:/copied")
	if got := r.do("exec", "-T", "--index", "2", "db", "cat", "/copied"); got != "copied\n" {
		t.Errorf("copied %q", got)
	}
	r.do("cp", "web:/www", filepath.Join(r.dir, "www"))
	if b, err := os.ReadFile(filepath.Join(r.dir, "www", "index.html")); err != nil || string(b) != "hello\n" {
		t.Errorf("copied %q, %v", b, err)
	}
	r.do("pause", "db")
	want(t, "ps", r.do("ps", "db"), "(Paused)")
	r.do("unpause", "db")
	r.do("restart", "-t", "1", "web")
	r.do("kill", "-s", "KILL", "web")
	want(t, "ps", r.do("ps", "-a", "web"), "Exited (137)")
	r.do("start", "web")
	r.do("stop", "-t", "1")
	r.do("start")
	r.do("rm", "-f", "-s", "web")
	r.do("create", "web")
	r.do("start", "web")
	r.do("scale", "web=1")
	want(t, "config", r.do("config", "--format", "json"), "10.77.")
	r.do("export", "-o", filepath.Join(r.dir, "db.tar"), "--index", "1", "db")
	r.do("commit", "--index", "1", "db", "shop-committed")
	r.d.MustDocker("image", "rm", "shop-committed")
	for _, action := range []string{"exec_create: cat /copied", "pause", "unpause", "kill", "die", "stop", "restart", "start", "export", "commit"} {
		events(`"action":"` + action)
	}
}

// changes has containers made anew, or not.
func (r *released) changes(now map[string]string) {
	t := r.t
	t.Helper()
	r.edit("compose.yaml", "LEVEL: one", "LEVEL: two")
	r.do("up", "-d", "--wait")
	now = r.same("another environment", now, "shop-db-1", "shop-db-2")
	if got := r.do("exec", "-T", "db", "sh", "-c", "echo $LEVEL"); got != "two\n" {
		t.Errorf("the database has %q", got)
	}
	r.do("up", "-d", "--force-recreate", "--no-deps", "web")
	now = r.same("a forced one", now, "shop-web-1")
	r.do("up", "-d", "--no-recreate", "--scale", "db=1")
	if now = r.ps(); len(now) != 3 {
		t.Errorf("after scaling down there are %v", now)
	}
	r.do("--profile", "extra", "up", "-d", "extra")
	r.edit("compose.yaml", "  extra:\n", "  other:\n")
	r.do("--profile", "extra", "up", "-d", "--remove-orphans", "other")
	if now = r.ps(); now["shop-extra-1"] != "" || now["shop-other-1"] == "" {
		t.Errorf("with an orphan gone there are %v", now)
	}
	// ours takes the project over, and gives it back
	network := r.d.MustDocker("network", "inspect", "-f", "{{.Id}}", "shop_front")
	r.d.Must(r.d.Dir, "-p", "shop", "restart", "-t", "1", "other")
	r.same("a restart by gantry", now)
	r.do("up", "-d", "--wait")
	if again := r.d.MustDocker("network", "inspect", "-f", "{{.Id}}", "shop_front"); again != network {
		t.Errorf("network %s became %s", network, again)
	}
}

// follow runs a verb that does not end by itself, until the test does. The
// function that it returns waits for a line with a text.
func (r *released) follow(args ...string) func(string) {
	t := r.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	cmd := exec.CommandContext(ctx, r.program, args...)
	cmd.Dir = r.dir
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+r.d.Host, "DOCKER_CONFIG="+r.d.Dir+"/docker-config", "HOME="+r.d.Dir+"/home"), r.env...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGINT); cmd.Wait(); cancel() })
	lines := bufio.NewScanner(pipe)
	var seen strings.Builder
	return func(text string) {
		t.Helper()
		for !strings.Contains(seen.String(), text) {
			if !lines.Scan() {
				t.Fatalf("%v ended without %q:\n%s", args, text, seen.String())
			}
			seen.WriteString(lines.Text() + "\n")
		}
	}
}

// A program of this project in one image, and another image on top.
const built = `
services:
  app:
    image: REGISTRY/app
    build:
      context: app
      args: {V: "2"}
      secrets: [token]
      extra_hosts: {me: host-gateway}
      tags: ["REGISTRY/app:two"]
    command: sleep 1000
    init: true
    develop: {watch: [{action: sync, path: ./app/src, target: /src}]}
  top:
    build:
      dockerfile_inline: |
        FROM base
        RUN cat /v > /top
      additional_contexts: {base: "service:app"}
    command: sleep 1000
    init: true
secrets: {token: {environment: TOKEN}}
`

func TestReleasedComposesBuild(t *testing.T) {
	for _, program := range composes {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			r := release(t, program)
			registry := harness.Registry(t, "", "")
			name := "built-by-" + program // watch locks names for the whole host
			r.in(name, strings.ReplaceAll(built, "REGISTRY", registry), "app/src/file", "one\n",
				"app/Dockerfile", "FROM busybox:test\nARG V=1\nRUN --mount=type=secret,id=token test -s /run/secrets/token && grep -q me /etc/hosts && echo built $V > /v\nCOPY src /src\n")
			r.env = []string{"TOKEN=secret"}

			r.do("up", "-d", "--build")
			now := r.ps()
			r.do("up", "-d")
			r.same("an up with nothing to do", now)
			r.do("up", "-d", "--build")
			r.same("a build that changes nothing", now)
			if got := r.do("exec", "-T", "top", "cat", "/top"); got != "built 2\n" {
				t.Errorf("in top there is %q", got)
			}
			r.edit("app/src/file", "one", "two")
			r.do("up", "-d", "--build")
			r.same("a build with a change", now, name+"-app-1", name+"-top-1")
			if got := r.do("exec", "-T", "app", "cat", "/src/file"); got != "two\n" {
				t.Errorf("in app there is %q", got)
			}

			r.do("push", "app")
			r.do("down", "--rmi", "all")
			r.do("pull", "app")
			r.do("up", "-d", "--no-build", "app")
			r.with("COMPOSE_BAKE=false").do("build")
			r.do("down", "--rmi", "all")

			r.edit("compose.yaml", "secrets: [token]", "")
			r.edit("app/Dockerfile", "--mount=type=secret,id=token test -s /run/secrets/token && ", "")
			r.with("DOCKER_BUILDKIT=0", "COMPOSE_BAKE=false").do("build", "app")

			r.do("up", "-d", "app")
			r.follow("watch", "--no-up", "app")("Watch enabled")
			r.edit("app/src/file", "two", "three")
			harness.Eventually(t, "the file is there", func() error {
				if got := r.do("exec", "-T", "app", "cat", "/src/file"); got != "three\n" {
					return os.ErrNotExist
				}
				return nil
			})
			r.do("down", "-v", "--rmi", "all")
		})
	}
}
