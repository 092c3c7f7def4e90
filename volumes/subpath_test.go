package volumes

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
)

func TestResolveSubpath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vol")
	must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	outside := t.TempDir()
	for name, to := range map[string]string{"in": "/a/b", "abs": outside, "up": "../../../../../.." + outside, "loop": "loop"} {
		must(t, os.Symlink(to, filepath.Join(dir, name)))
	}
	for _, sub := range []string{"a/b", "in", "a/../a/b", "a/b/../../in"} {
		got, err := ResolveSubpath(dir, sub)
		if err != nil || got != filepath.Join(dir, "a/b") {
			t.Errorf("%q: got %q and %v", sub, got, err)
		}
	}
	for _, sub := range []string{"../x", "/a", "abs", "up", "missing", "loop", ""} {
		if got, err := ResolveSubpath(dir, sub); err == nil {
			t.Errorf("%q: got %q, want an error", sub, got)
		}
	}
}

func TestMountSubpath(t *testing.T) {
	s, root := open(t)
	ctx := t.Context()
	v, err := s.Create(Volume{Name: "data"})
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(v.Mountpoint, "a/b"), 0o755))
	must(t, os.WriteFile(filepath.Join(v.Mountpoint, "file"), []byte("x"), 0o644))
	if _, err := s.MountSubpath(ctx, "data", "c1", "a"); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("before Mount: %v", err)
	}
	_, err = s.Mount(ctx, "data", "c1")
	must(t, err)
	for range 2 {
		dir, err := s.MountSubpath(ctx, "data", "c1", "a")
		must(t, err)
		if dir != s.SubpathMount("data", "c1", "a") || !exists(filepath.Join(dir, "b")) {
			t.Errorf("%q does not show the directory", dir)
		}
		if got := below(t, root); len(got) != 1 {
			t.Errorf("mounted %q, want one", got)
		}
	}
	file, err := s.MountSubpath(ctx, "data", "c1", "file")
	must(t, err)
	if b, err := os.ReadFile(file); string(b) != "x" {
		t.Errorf("the file reads %q, %v", b, err)
	}
	// What the path leads to later is of no matter.
	must(t, os.Rename(filepath.Join(v.Mountpoint, "a"), filepath.Join(v.Mountpoint, "z")))
	must(t, os.Symlink("/etc", filepath.Join(v.Mountpoint, "a")))
	if dir := s.SubpathMount("data", "c1", "a"); !exists(filepath.Join(dir, "b")) || exists(filepath.Join(dir, "passwd")) {
		t.Error("the mount was redirected")
	}
	_, err = s.Mount(ctx, "data", "c2")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(v.Mountpoint, "etc-stays-away"), nil, 0o644))
	if dir, err := s.MountSubpath(ctx, "data", "c2", "a"); err == nil {
		t.Errorf("the link to the host's /etc was mounted at %q", dir)
	}
	unmount(t, s, "data", "c1")
	unmount(t, s, "data", "c2")
	if got := below(t, root); len(got) > 0 || !exists(filepath.Join(v.Mountpoint, "z/b")) {
		t.Errorf("after Unmount: mounts %q, content %q", got, list(t, v.Mountpoint))
	}
	must(t, s.Remove(ctx, "data"))
}
