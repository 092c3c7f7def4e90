package spec

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestLookup(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\napp:x:1001:\nwheel:x:10:app,root\nadm:x:4:app\n"), 0o644))
	for name, c := range map[string]struct {
		extra []string
		want  []uint32 // uid, gid, additional
	}{
		"":          {nil, []uint32{0, 0, 0, 10}},
		"app":       {nil, []uint32{1000, 1001, 1001, 10, 4}},
		"1000":      {nil, []uint32{1000, 1001, 1001, 10, 4}},
		"app:wheel": {nil, []uint32{1000, 10, 10}},
		"app:77":    {nil, []uint32{1000, 77, 77}},
		"5:6":       {nil, []uint32{5, 6, 6}},
		"5":         {[]string{"adm", "6", "adm"}, []uint32{5, 0, 0, 4, 6}},
		":adm":      {nil, []uint32{0, 4, 4}},
		"nobody":    {nil, nil},
		"app:none":  {nil, nil},
		"-1":        {nil, nil},
	} {
		u, err := lookup(root, name, c.extra)
		if c.want == nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("user %q: got %v and %v, want an invalid argument", name, u, err)
			}
			continue
		}
		must(t, err)
		if got := append([]uint32{u.UID, u.GID}, u.AdditionalGids...); !slices.Equal(got, c.want) {
			t.Errorf("user %q: got %d, want %d", name, got, c.want)
		}
	}
}

func TestLookupStaysInsideAndNeverHangs(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "passwd")
	must(t, os.WriteFile(outside, []byte("host:x:7:7::/:/bin/sh\n"), 0o644))
	for name, make := range map[string]func(passwd string) error{
		"absolute link": func(p string) error { return os.Symlink(outside, p) },
		"relative link": func(p string) error { return os.Symlink("../../../../../../../.."+outside, p) },
		"loop":          func(p string) error { return os.Symlink("passwd", p) },
		"fifo":          func(p string) error { return unix.Mkfifo(p, 0o644) },
		"directory":     func(p string) error { return os.Mkdir(p, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			must(t, os.Mkdir(filepath.Join(root, "etc"), 0o755))
			must(t, make(filepath.Join(root, "etc/passwd")))
			if u, err := lookup(root, "host", nil); !errdefs.IsInvalidArgument(err) {
				t.Errorf("got %v and %v, want no such user", u, err)
			}
			u, err := lookup(root, "7", nil) // numbers need no file
			must(t, err)
			if u.UID != 7 || u.GID != 0 {
				t.Errorf("got %d:%d, want 7:0", u.UID, u.GID)
			}
		})
	}
}

func TestOverlayEnv(t *testing.T) {
	got := overlayEnv([]string{"A=1", "B=2", "C=3"}, []string{"B=x=y", "C", "D=4", "D=5", "E", "F="})
	if want := []string{"A=1", "B=x=y", "D=5", "F="}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProcessOfExec(t *testing.T) {
	base := &specs.Spec{Process: &specs.Process{
		Args: []string{"main"}, Cwd: "/w", Env: []string{"PATH=/bin", "TERM=xterm"}, Terminal: true,
		User: specs.User{UID: 3, Umask: ptr(uint32(7))}, ConsoleSize: &specs.Box{Height: 1, Width: 2}, NoNewPrivileges: true,
	}}
	p, err := Process(base, container.ExecCreateRequest{Cmd: []string{"x"}}, "/nonexistent")
	must(t, err)
	want := &specs.Process{Args: []string{"x"}, Cwd: "/w", Env: []string{"PATH=/bin"}, User: base.Process.User, NoNewPrivileges: true}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("without terminal (-want +got):\n%s", diff)
	}
	base.Process.Terminal, base.Process.Env = false, []string{"PATH=/bin"}
	p, err = Process(base, container.ExecCreateRequest{Cmd: []string{"x"}, Tty: true, ConsoleSize: &[2]uint{24, 80}, WorkingDir: "/a/../b", User: "5"}, t.TempDir())
	must(t, err)
	want = &specs.Process{Args: []string{"x"}, Cwd: "/b", Terminal: true, Env: []string{"PATH=/bin", "TERM=xterm"}, NoNewPrivileges: true,
		ConsoleSize: &specs.Box{Height: 24, Width: 80}, User: specs.User{UID: 5, AdditionalGids: []uint32{0}, Umask: ptr(uint32(7))}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("with terminal (-want +got):\n%s", diff)
	}
	for _, req := range []container.ExecCreateRequest{{}, {Cmd: []string{""}}, {Cmd: []string{"x"}, WorkingDir: "rel"}, {Cmd: []string{"x"}, User: "nobody"}} {
		if _, err := Process(base, req, t.TempDir()); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %v, want an invalid argument", req, err)
		}
	}
}
