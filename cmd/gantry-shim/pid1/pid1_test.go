package pid1

import (
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
		ok   bool
	}{
		{nil, nil, false},
		{[]string{"gantry-shim"}, nil, false},
		{[]string{"/x/gantry-shim", "-namespace", "n", "-id", "init", "start"}, nil, false},
		{[]string{"gantry-shim", "init", "--", "sh", "-c", "x"}, []string{"sh", "-c", "x"}, true},
		{[]string{"gantry-shim", "init", "sh", "--"}, []string{"sh", "--"}, true},
		{[]string{"/sbin/docker-init", "--", "init"}, []string{"init"}, true},
		{[]string{"gantry-init", "init"}, []string{"init"}, true},
		{[]string{"docker-init"}, []string{}, true},
	} {
		got, ok := parse(c.args)
		if ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v; want %q, %v", c.args, got, ok, c.want, c.ok)
		}
	}
}

func TestForwarded(t *testing.T) {
	all := forwarded()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGWINCH, syscall.SIGCHLD, 34, 64} {
		if !slices.Contains(all, os.Signal(s)) {
			t.Errorf("%v is not handled", s)
		}
	}
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGURG} {
		if slices.Contains(all, os.Signal(s)) {
			t.Errorf("%v is handled", s)
		}
	}
}
