package volumes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"
)

func TestBind(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o644))
	must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	must(t, Bind(dir, false))
	must(t, Bind(file, true))
	missing := filepath.Join(dir, "a/b")
	for _, c := range []struct {
		source string
		create bool
		says   string
	}{
		{missing, false, "does not exist"},
		{"rel", true, "absolute"},
		{filepath.Join(file, "x"), true, file},
		{filepath.Join(dir, "dangling"), true, "link"},
	} {
		if err := Bind(c.source, c.create); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want an invalid argument that says %q", c.source, err, c.says)
		}
	}
	if exists(missing) {
		t.Error("made unasked")
	}
	must(t, Bind(missing, true))
	if fi, err := os.Stat(missing); err != nil || !fi.IsDir() || fi.Mode().Perm() != 0o755 {
		t.Errorf("made as %v, %v", fi, err)
	}
}

// Services that share a directory are created at the same time.
func TestBindMakesOneSourceForMany(t *testing.T) {
	for range 200 {
		source := filepath.Join(t.TempDir(), "shared")
		begin, errs := make(chan struct{}), make(chan error, 4)
		for range cap(errs) {
			go func() { <-begin; errs <- Bind(source, true) }()
		}
		close(begin)
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestCheckPropagation(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	must(t, os.Mkdir(sub, 0o755))
	must(t, unix.Mount("", dir, "", unix.MS_PRIVATE, ""))
	if err := CheckPropagation(sub, mount.PropagationRShared); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), dir) {
		t.Errorf("private: got %v, want an error that names the mount %q", err, dir)
	}
	must(t, CheckPropagation(sub, mount.PropagationRSlave))
	must(t, CheckPropagation(sub, ""))
	must(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	must(t, CheckPropagation(sub, mount.PropagationRShared))
}
