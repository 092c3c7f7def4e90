package e2e

import (
	"strings"
	"testing"

	"gantry/tests/harness"
)

// What a service asks for is asked of the running container itself.
func TestServicesGetWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("svc", `
name: svc
services:
  a:
    image: busybox
    entrypoint: [sleep]
    command: ["1000"]
    init: true
    hostname: myhost
    user: "12:34"
    working_dir: /tmp
    environment: {A: "1"}
    read_only: true
    tmpfs: ["/tmp:size=1m"]
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: ["no-new-privileges:true"]
    sysctls: {net.ipv4.ip_unprivileged_port_start: "0"}
    ulimits: {nofile: 512}
    shm_size: 8m
    dns: [192.0.2.1]
    extra_hosts: ["other:192.0.2.7"]
    mem_limit: 32m
    pids_limit: 30
    cpus: 0.5
    stop_signal: SIGUSR1
    networks:
      front: {aliases: [nick], ipv4_address: 10.213.7.9}
      back: {}
  host: {image: busybox, command: [sleep, "1000"], init: true, network_mode: host}
  none: {image: busybox, command: [sleep, "1000"], init: true, network_mode: none}
  side: {image: busybox, command: [sleep, "1000"], network_mode: "service:a", pid: "service:a"}
  privileged: {image: busybox, command: [sleep, "1000"], init: true, privileged: true, use_api_socket: true}
  tty: {image: busybox, command: [sh, -c, "test -t 0 && echo a terminal; sleep 1000"], init: true, tty: true, stdin_open: true}
networks:
  front: {ipam: {config: [{subnet: 10.213.7.0/24}]}}
  back: {internal: true}
`)
	d.Must(dir, "up", "-d")
	in := func(service, script string) string {
		t.Helper()
		return strings.TrimSpace(d.Must(dir, "exec", "-T", service, "sh", "-c", script))
	}
	for _, tc := range []struct{ name, service, script, want string }{
		{"hostname", "a", "hostname", "myhost"},
		{"user", "a", "id -u; id -g", "12\n34"},
		{"working directory", "a", "pwd", "/tmp"},
		{"environment", "a", "echo $A", "1"},
		{"read-only root", "a", "touch /x 2>/dev/null || echo ro", "ro"},
		{"tmpfs", "a", "df -k /tmp | tail -1 | grep -c ' 1024 '", "1"},
		{"capabilities", "a", "grep CapBnd /proc/self/status | cut -f2", "0000000000000400"},
		{"no new privileges", "a", "grep NoNewPrivs /proc/self/status | cut -f2", "1"},
		{"sysctl", "a", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
		{"ulimit", "a", "ulimit -n", "512"},
		{"shared memory", "a", "df -k /dev/shm | tail -1 | grep -c 8192", "1"},
		{"extra host", "a", "grep other /etc/hosts | cut -f1", "192.0.2.7"},
		{"init", "a", "cat /proc/1/comm", "docker-init"},
		{"fixed address", "a", "ip -4 -o addr | grep -c 10.213.7.9/24", "1"},
		{"alias", "none", "echo no network: $(ip -o link | grep -vc lo:)", "no network: 0"},
		{"shared network", "side", "ip -4 -o addr | grep -c 10.213.7.9/24", "1"},
		{"shared processes", "side", "cat /proc/1/comm", "docker-init"},
		{"privileged", "privileged", "ls -d /dev/kmsg", "/dev/kmsg"},
		{"API socket", "privileged", "test -S /var/run/docker.sock && echo socket", "socket"},
		{"terminal", "tty", "ls -l /proc/1/fd/0 | grep -c pts", "1"},
	} {
		if got := in(tc.service, tc.script); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	if got := d.Must(dir, "logs", "--no-log-prefix", "--no-color", "tty"); !strings.Contains(got, "a terminal") {
		t.Errorf("logs of tty: %q", got)
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}

func TestNetworksSeparateAndAliasesResolve(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox("busybox:latest")
	dir := d.Project("nets", `
name: nets
services:
  web: {image: busybox, command: [sleep, "1000"], init: true, networks: [front]}
  api: {image: busybox, command: [sleep, "1000"], init: true, networks: {front: , back: {aliases: [service]}}}
  db: {image: busybox, command: [sleep, "1000"], init: true, networks: [back], scale: 2}
  six: {image: busybox, command: [sleep, "1000"], init: true, networks: [six]}
  six2: {image: busybox, command: [sleep, "1000"], init: true, networks: [six]}
networks:
  front:
  back: {internal: true}
  six: {enable_ipv6: true}
`)
	d.Must(dir, "up", "-d")
	ok := func(service string, cmd ...string) bool {
		return d.Gantry(dir, append([]string{"exec", "-T", service}, cmd...)...).Code == 0
	}
	for _, tc := range []struct {
		from, to string
		want     bool
	}{{"web", "api", true}, {"api", "web", true}, {"db", "service", true}, {"api", "db", true}, {"web", "db", false}, {"db", "web", false}, {"web", "service", false}} {
		if got := ok(tc.from, "ping", "-c1", "-W2", tc.to); got != tc.want {
			t.Errorf("%s reaches %s: %v, want %v", tc.from, tc.to, got, tc.want)
		}
	}
	if got := d.Must(dir, "exec", "-T", "api", "nslookup", "-type=a", "db"); strings.Count(got, "Name:") < 2 {
		t.Errorf("db has two replicas, but: %s", got)
	}
	if !ok("six", "ping", "-6", "-c1", "-W2", "six2") {
		t.Error("six does not reach six2 by IPv6")
	}
	addr := strings.TrimSpace(d.Must(dir, "exec", "-T", "db", "hostname", "-i"))
	if ok("web", "ping", "-c1", "-W1", addr) {
		t.Error("web reaches db's address across networks")
	}
	d.Must(dir, "down", "-t", "0")
	d.NoLeaks()
}
