package docker_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// What daemon.json gives to containers reaches those of docker run and those of
// a project; what they choose themselves stays.
func TestDefaultsOfTheDaemon(t *testing.T) {
	t.Parallel()
	d := start(t,
		`"init": true, "no-new-privileges": true, "default-shm-size": "8M"`,
		`"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 100, "Hard": 200}}`,
		`"mtu": 1400, "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1300"}}`,
		`"labels": ["rack=7"]`)
	facts := "cat /proc/1/comm; df -k /dev/shm | awk 'END {print $2}'; ulimit -n; ulimit -Hn; awk '/NoNewPrivs/ {print $2}' /proc/self/status; cat /sys/class/net/eth0/mtu"
	said := func(out string) string { return strings.Join(strings.Fields(out), " ") }

	if got := said(d.MustDocker("run", "--rm", image, "sh", "-c", facts)); got != "docker-init 8192 100 200 1 1400" {
		t.Errorf("by default: %s", got)
	}
	if got := said(d.MustDocker("run", "--rm", "--init=false", "--security-opt", "no-new-privileges=false", "--shm-size", "4M", "--ulimit", "nofile=50:60", image, "sh", "-c", facts)); got != "sh 4096 50 60 0 1400" {
		t.Errorf("chosen: %s", got)
	}
	dir := filepath.Join(d.Dir, "p")
	d.Write("p/compose.yaml", "services:\n  a:\n    image: "+image+"\n    command: [sh, -c, \""+strings.NewReplacer("$", "$$", `"`, `\"`).Replace(facts)+"\"]\n")
	d.Must(dir, "up", "-d")
	d.Must(dir, "wait", "a")
	if got := said(d.Must(dir, "logs", "--no-log-prefix", "a")); got != "docker-init 8192 100 200 1 1300" {
		t.Errorf("in a project: %s", got)
	}
	if out := d.Must(dir, "up", "--dry-run"); strings.Contains(out, "recreate") || strings.Contains(out, "create") {
		t.Errorf("defaults look like a change:\n%s", out)
	}
	d.Must(dir, "down")
	if got := d.MustDocker("info", "--format", "{{.Labels}}"); got != "[rack=7]\n" {
		t.Errorf("labels %s", got)
	}
}
