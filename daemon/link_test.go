package daemon

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
)

func TestDockerSockLeadsToTheSocket(t *testing.T) {
	for name, there := range map[string]func(path string) error{
		"nothing":        func(string) error { return nil },
		"our old link":   func(path string) error { return os.Symlink(socketName, path) },
		"another link":   func(path string) error { return os.Symlink("/nowhere/docker.sock", path) },
		"a torn attempt": func(path string) error { return os.Symlink(socketName, path+".new") },
	} {
		dir := t.TempDir()
		if err := there(filepath.Join(dir, linkName)); err != nil {
			t.Fatal(err)
		}
		if err := linkSocket(dir); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		l, err := net.Listen("unix", filepath.Join(dir, socketName))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", filepath.Join(dir, linkName))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			conn.Close()
		}
		l.Close()
		if err := unlinkSocket(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind %v, %v", name, left, err)
		}
	}
}

func TestDockerSockOfOthersStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, linkName)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := linkSocket(dir); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a file was replaced: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere/docker.sock", path); err != nil {
		t.Fatal(err)
	}
	if err := unlinkSocket(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("another's link was removed: %v", err)
	}
}

func TestWhatIsServed(t *testing.T) {
	const socket, link, other = "unix:///run/gantry/gantry.sock", "unix:///run/gantry/docker.sock", "unix:///var/run/docker.sock"
	for _, tc := range []struct {
		hosts  []string
		linked bool
		served []string
		not    []string
	}{
		{nil, true, []string{socket, link}, []string{other}},
		{[]string{socket, other}, true, []string{socket, link, other}, nil},
		{[]string{other}, false, []string{other}, []string{socket, link}},
		{[]string{socket, link}, false, []string{socket, link}, nil},
	} {
		c := DefaultConfig()
		c.Hosts = tc.hosts
		if c.linked() != tc.linked {
			t.Errorf("%v: linked is %v", tc.hosts, c.linked())
		}
		for _, h := range tc.served {
			if !c.Serves(h[len("unix://"):]) {
				t.Errorf("%v: %s is not served", tc.hosts, h)
			}
		}
		for _, h := range tc.not {
			if c.Serves(h[len("unix://"):]) {
				t.Errorf("%v: %s is served", tc.hosts, h)
			}
		}
	}
}
