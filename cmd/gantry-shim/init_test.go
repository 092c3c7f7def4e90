package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/containerd/stdio"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// withInit mounts the binary as Docker mounts its init.
func withInit(t *testing.T, r *rig, terminal bool) func(*specs.Spec, *taskAPI.CreateTaskRequest) {
	t.Helper()
	binary, err := shimBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.rootfs, "sbin", "docker-init"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	return func(s *specs.Spec, q *taskAPI.CreateTaskRequest) {
		s.Process.Args = append([]string{"/sbin/docker-init", "--"}, s.Process.Args...)
		s.Process.Terminal = terminal
		q.Stdin = q.Stdout
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sbin/docker-init", Type: "bind", Source: binary, Options: []string{"bind", "ro"}})
	}
}

func TestInitReapsAndForwards(t *testing.T) {
	r := newRig(t)
	// The inner shell orphans a process that ends at once. /proc has it until
	// it is reaped, and then the loop ends.
	k := r.must("a", stdio.Config{}, withInit(t, r, false), "sh", "-c", `
		trap 'echo term; exit 7' TERM
		trap 'echo usr1' USR1
		p=$(sh -c 'true & echo $!')
		while test -e /proc/$p; do :; done
		echo reaped
		while :; do read x; done`)
	s := k.attach()
	k.start()
	expect := func(want string) {
		t.Helper()
		if _, p, err := s.Next(); err != nil || string(p) != want {
			t.Fatalf("got %q, %v; want %q", p, err, want)
		}
	}
	expect("reaped\n")
	k.kill(unix.SIGUSR1)
	expect("usr1\n")
	k.kill(unix.SIGTERM)
	expect("term\n")
	if code := k.wait(""); code != 7 {
		t.Errorf("exit code %d", code)
	}
	k.remove()
}

func TestInitExitCodes(t *testing.T) {
	r := newRig(t)
	with := withInit(t, r, false)
	if err := os.WriteFile(filepath.Join(r.rootfs, "bin", "script"), []byte("echo script $1; exit 4\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.rootfs, "bin", "data"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		args []string
		code uint32
		log  string
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"sh", "-c", "exit 42"}, 42, ""},
		{[]string{"sh", "-c", "kill -9 $$"}, 137, ""},
		{[]string{"sh", "-c", "kill -TERM $$"}, 143, ""},
		{[]string{"missing"}, 127, "gantry-init: exec missing failed: no such file or directory\n"},
		{[]string{"/bin/missing"}, 127, "gantry-init: exec /bin/missing failed: no such file or directory\n"},
		{[]string{"/bin/data"}, 126, "gantry-init: exec /bin/data failed: permission denied\n"},
		{[]string{"script", "it"}, 4, "script it\n"},
		{[]string{"sh", "-c", "exec cat /proc/$$/comm"}, 0, "cat\n"},
	} {
		k := r.must(string(rune('a'+i)), stdio.Config{}, with, c.args...)
		k.start()
		if code := k.wait(""); code != c.code {
			t.Errorf("%q: exit code %d, want %d", c.args, code, c.code)
		}
		if text := k.logText(); text != c.log {
			t.Errorf("%q: output %q, want %q", c.args, text, c.log)
		}
		k.remove()
	}
}

// On a terminal the command has the foreground, so that it may read, and ^C
// reaches it.
func TestInitOnATerminal(t *testing.T) {
	r := newRig(t)
	k := r.must("a", stdio.Config{}, withInit(t, r, true), "sh", "-c", "stty -echo; trap 'echo interrupted; exit 3' INT; echo ready; read x; echo got $x; read y")
	s := k.attach()
	k.start()
	text := ""
	until := func(want string) {
		t.Helper()
		for !strings.Contains(text, want) {
			_, p, err := s.Next()
			if err != nil {
				t.Fatalf("after %q: %v", text, err)
			}
			text += string(p)
		}
	}
	until("ready\r\n")
	io.WriteString(s, "it\n")
	until("got it\r\n")
	io.WriteString(s, "\x03")
	until("interrupted\r\n")
	if code := k.wait(""); code != 3 {
		t.Errorf("exit code %d", code)
	}
	k.remove()
}
