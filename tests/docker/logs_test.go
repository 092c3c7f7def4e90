package docker_test

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

func TestLogsSelect(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "--name", "talks", "--label", "tier=front", "-e", "MODE=a b", "--log-opt", "labels=tier,none", "--log-opt", "env=MODE", "--log-opt", "tag={{.Name}}", image,
		"sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; echo trouble >&2")
	lines := func(args ...string) []string {
		t.Helper()
		r := d.Docker(append([]string{"logs"}, args...)...)
		if r.Code != 0 {
			t.Fatal(r)
		}
		return strings.Split(strings.TrimSuffix(r.Stdout, "\n"), "\n")
	}
	if got := strings.Join(lines("talks"), ","); got != "line 1,line 2,line 3,line 4,line 5" {
		t.Errorf("all: %s", got)
	}
	if r := d.Docker("logs", "talks"); r.Stderr != "trouble\n" {
		t.Errorf("what went to stderr: %q", r.Stderr)
	}
	if n := len(lines("--tail", "3", "talks")); n != 2 && n != 3 { // stderr's line is one of them
		t.Errorf("the last three: %d", n)
	}
	stamped := lines("-t", "talks")
	at := make([]time.Time, len(stamped))
	for i, l := range stamped {
		when, text, _ := strings.Cut(l, " ")
		var err error
		if at[i], err = time.Parse(time.RFC3339Nano, when); err != nil || !strings.HasPrefix(text, "line ") {
			t.Fatalf("%q: %v", l, err)
		}
	}
	if got := strings.Join(lines("--since", at[3].Format(time.RFC3339Nano), "talks"), ","); got != "line 4,line 5" {
		t.Errorf("since the fourth: %s", got)
	}
	if got := strings.Join(lines("--until", at[1].Format(time.RFC3339Nano), "talks"), ","); got != "line 1,line 2" {
		t.Errorf("until the second: %s", got)
	}
	if got := lines("--details", "--tail", "6", "talks")[0]; got != "MODE=a+b,tag=talks,tier=front line 1" {
		t.Errorf("with details: %q", got)
	}
	if got := strings.Join(lines("-f", "talks"), ","); !strings.HasSuffix(got, "line 5") {
		t.Errorf("following one that has ended: %s", got)
	}
	if r := d.FailDocker("logs", "nobody"); !strings.Contains(r.Stderr, "No such container: nobody") {
		t.Error(r)
	}
	fast := []string{"run", "--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m", "--log-opt", "compress=true"}
	if r := d.Docker(append(fast, image, "echo", "x")...); r.Code != 0 || !strings.Contains(r.Stderr, "compress has no effect") {
		t.Error(r)
	}
	if r := d.FailDocker("run", "--log-opt", "max-buffer-size=4m", image, "true"); !strings.Contains(r.Stderr, "mode=non-blocking") {
		t.Error(r)
	}
	d.MustDocker("run", "--name", "mute", "--log-driver", "none", image, "echo", "x")
	if r := d.FailDocker("logs", "mute"); !strings.Contains(r.Stderr, "configured logging driver does not support reading") {
		t.Error(r)
	}
}

func TestLogsOfTheLocalDriver(t *testing.T) {
	t.Parallel()
	d := start(t, `"log-driver": "local"`, `"log-opts": {"max-size": "20k", "max-file": "2"}`)
	d.MustDocker("run", "--name", "talks", image, "sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i of many; i=$((i+1)); done")
	if got := inspect(d, "talks", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}"); got != "local" {
		t.Errorf("inspect says %q", got)
	}
	got := strings.Split(strings.TrimSpace(d.MustDocker("logs", "talks")), "\n")
	if len(got) >= 2000 || got[len(got)-1] != "line 1999 of many" {
		t.Errorf("%d lines, the last is %q", len(got), got[len(got)-1])
	}
}

// Following ends with the container, also when that is removed.
func TestLogsFollowToTheEnd(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, end := range [][]string{{"kill"}, {"rm", "-f"}} {
		d.MustDocker("run", "-d", "--name", "talker", image, "sh", "-c", "echo begun; sleep 1000")
		cmd := d.DockerCommand(d.Dir, "logs", "-f", "talker")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		s := bufio.NewScanner(out)
		if !s.Scan() || s.Text() != "begun" {
			t.Fatalf("%q", s.Text())
		}
		d.MustDocker(append(end, "talker")...)
		if s.Scan() {
			t.Errorf("after %v: %q", end, s.Text())
		}
		d.Docker("rm", "-f", "talker")
	}
}
