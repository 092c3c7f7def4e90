package clients_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dockerCLIs are the docker command lines to test with: Debian's, which is an
// old one, and whatever else is installed.
func dockerCLIs(t *testing.T) []string {
	t.Helper()
	debian, err := exec.Command("../../scripts/docker-cli", t.TempDir()).Output()
	if err != nil {
		t.Fatalf("scripts/docker-cli: %v", err)
	}
	all := []string{strings.TrimSpace(string(debian))}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		p, err := filepath.EvalSymlinks(filepath.Join(dir, "docker"))
		if err == nil && !strings.Contains(filepath.Base(p), "gantry") && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

func TestDockerCommandLines(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, program := range dockerCLIs(t) {
		docker := func(args ...string) string { t.Helper(); return strings.TrimSpace(run(t, d, d.Dir, program, args...)) }
		version := docker("version", "--format", "{{.Client.Version}} {{.Server.MinAPIVersion}} {{(index .Server.Components 0).Name}}")
		t.Log(program, version)
		want(t, "version", version, " 1.40 Engine")
		want(t, "info", docker("info"), "Storage Driver: overlayfs", "Swarm: inactive", "Default Runtime: runc", "Network: bridge")
		want(t, "images", docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}"), "busybox:test ")

		id := docker("run", "-d", "--name", "box", "--label", "a=b", "-p", "127.0.0.1::80", "-e", "A=1", image, "sh", "-c", "echo started; trap 'exit 7' TERM; while :; do sleep 0.1; done")
		want(t, "ps", docker("ps", "--no-trunc", "--filter", "label=a=b", "--format", "{{.ID}} {{.Image}} {{.Names}} {{.Status}} {{.Ports}}"), id+" "+image+" box Up", "127.0.0.1:", "->80/tcp")
		if ip := docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "box"); ip == "" {
			t.Error("no address")
		}
		if out := docker("exec", "-e", "B=2", "-w", "/tmp", "-u", "alice", "box", "sh", "-c", "echo $A $B $PWD $(id -un)"); out != "1 2 /tmp alice" {
			t.Errorf("exec printed %q", out)
		}
		want(t, "logs", docker("logs", "-t", "box"), "T", " started")
		want(t, "top", docker("top", "box"), "trap")
		docker("pause", "box")
		want(t, "ps of a paused one", docker("ps", "--format", "{{.Status}}"), "(Paused)")
		docker("unpause", "box")
		docker("rename", "box", "crate")
		docker("stop", "-t", "20", "crate")
		if code := docker("wait", "crate"); code != "7" {
			t.Errorf("exit code %s", code)
		}
		docker("network", "create", "mine")
		if out := docker("run", "--rm", "--network", "mine", "--network-alias", "me", image, "sh", "-c", "nslookup me >/dev/null && echo found"); out != "found" {
			t.Errorf("run printed %q", out)
		}
		docker("network", "rm", "mine")
		docker("rm", "-v", "crate")
		seen := docker("events", "--since", "2000-01-01", "--until", time.Now().Format(time.RFC3339Nano), "--filter", "container="+id, "--format", "{{json .}}")
		var actions []string
		for line := range strings.Lines(seen) {
			var m struct {
				Action string
				Actor  struct{ Attributes map[string]string }
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Actor.Attributes["a"] != "b" {
				t.Fatalf("event %s: %v", line, err)
			}
			actions = append(actions, m.Action)
		}
		want(t, "events", strings.Join(actions, ","), "create,start,", "exec_create: sh -c", "pause,unpause,rename,kill,die,stop,destroy")
		if left := docker("ps", "-aq"); left != "" {
			t.Errorf("left behind: %s", left)
		}
	}
}
