package docker_test

import (
	"strings"
	"testing"
)

func TestExecDoesAndTellsWhatDockerDoes(t *testing.T) {
	t.Parallel()
	d := start(t)
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--init", "--name", "box", "-e", "A=1", image, "sleep", "1000"))

	if out := d.MustDocker("exec", "-e", "B=2", "-w", "/tmp", "-u", "alice:staff", "box", "sh", "-c", "echo $A $B $PWD $(id -un) $(id -gn)"); out != "1 2 /tmp alice staff\n" {
		t.Errorf("exec printed %q", out)
	}
	if r := d.DockerInput("a\nb\n", "exec", "-i", "box", "sh", "-c", "wc -l; echo e >&2; exit 5"); r.Code != 5 || strings.TrimSpace(r.Stdout) != "2" || r.Stderr != "e\n" {
		t.Errorf("streams and code: %v", r)
	}
	large := strings.Repeat("0123456789abcdef", 1<<19) // 8 MB, there and back
	if r := d.DockerInput(large, "exec", "-i", "box", "cat"); r.Code != 0 || r.Stdout != large {
		t.Errorf("a large stream: exit code %d, %d of %d bytes came back", r.Code, len(r.Stdout), len(large))
	}
	caps := func(flags ...string) string {
		return d.MustDocker(append(append([]string{"exec"}, flags...), "box", "grep", "CapEff", "/proc/self/status")...)
	}
	if plain, all := caps(), caps("--privileged"); plain == all {
		t.Errorf("--privileged gives %q", all)
	}
	for code, args := range map[int][]string{127: {"box", "nonsense"}, 126: {"box", "/etc/passwd"}} {
		if r := d.FailDocker(append([]string{"exec"}, args...)...); r.Code != code {
			t.Errorf("%v", r)
		}
	}
	// detached it goes on without a client, and inspect names it while it runs
	d.MustDocker("exec", "-d", "box", "sh", "-c", "touch /tmp/began; while [ ! -e /tmp/end ]; do sleep 0.05; done")
	d.MustDocker("exec", "box", "sh", "-c", "while [ ! -e /tmp/began ]; do sleep 0.05; done")
	ids := strings.Fields(strings.Trim(inspect(d, "box", "{{.ExecIDs}}"), "[]"))
	if len(ids) != 1 || len(ids[0]) != 64 {
		t.Errorf("inspect names the execs %q", ids)
	}
	d.MustDocker("exec", "box", "touch", "/tmp/end")
	d.MustDocker("exec", "box", "sh", "-c", "while pgrep -f began >/dev/null; do sleep 0.05; done; true")

	term := openTerminal(t, d.DockerCommand(d.Dir, "exec", "-it", "--detach-keys", "ctrl-x,x", "box", "sh"), 33, 111)
	term.send("stty size\r")
	term.expect("33 111")
	term.send("\x18x")
	term.end()

	d.MustDocker("pause", "box")
	if r := d.FailDocker("exec", "box", "true"); !strings.Contains(r.Stderr, "Container "+id+" is paused, unpause the container before exec") {
		t.Errorf("%v", r)
	}
	d.MustDocker("unpause", "box")
	d.MustDocker("kill", "box")
	d.MustDocker("wait", "box")
	if r := d.FailDocker("exec", "box", "true"); !strings.Contains(r.Stderr, "container "+id+" is not running") {
		t.Errorf("%v", r)
	}
	if r := d.FailDocker("exec", "nobody", "true"); !strings.Contains(r.Stderr, "No such container: nobody") {
		t.Errorf("%v", r)
	}
	if left := inspect(d, "box", "{{.ExecIDs}}"); left != "[]" {
		t.Errorf("execs of a container that has ended: %s", left)
	}
}
