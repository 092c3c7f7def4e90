package volumes

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// image makes a root with one of everything at /srv/data.
func image(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	d := filepath.Join(root, "srv/data")
	must(t, os.MkdirAll(filepath.Join(d, "sub/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(d, "file"), []byte("content"), 0o640))
	must(t, os.Lchown(filepath.Join(d, "file"), 5, 6))
	must(t, os.Chtimes(filepath.Join(d, "file"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	must(t, os.Link(filepath.Join(d, "file"), filepath.Join(d, "sub/hard")))
	must(t, os.Symlink("/etc/outside", filepath.Join(d, "link")))
	must(t, os.Lchown(filepath.Join(d, "link"), 7, 8))
	must(t, os.WriteFile(filepath.Join(d, "suid"), nil, 0o755))
	must(t, os.Chmod(filepath.Join(d, "suid"), 0o755|fs.ModeSetuid))
	must(t, unix.Mkfifo(filepath.Join(d, "fifo"), 0o600))
	must(t, unix.Mknod(filepath.Join(d, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Setxattr(filepath.Join(d, "file"), "user.colour", []byte("red"), 0))
	must(t, os.Chmod(filepath.Join(d, "sub"), 0o1777|fs.ModeSticky))
	must(t, os.Lchown(d, 999, 998))
	must(t, os.Chmod(d, 0o700))
	return root
}

func stat(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	fi, err := os.Lstat(path)
	must(t, err)
	return fi.Sys().(*syscall.Stat_t)
}

// sameTree compares all that a copy must keep.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	count := 0
	must(t, filepath.WalkDir(want, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		count++
		rel, _ := filepath.Rel(want, p)
		a, b := stat(t, p), stat(t, filepath.Join(got, rel))
		if a.Mode != b.Mode || a.Uid != b.Uid || a.Gid != b.Gid || a.Rdev != b.Rdev || a.Nlink != b.Nlink && !d.IsDir() {
			t.Errorf("%s: want %o %d:%d, got %o %d:%d", rel, a.Mode, a.Uid, a.Gid, b.Mode, b.Uid, b.Gid)
		}
		if d.Type().IsRegular() {
			if a.Mtim != b.Mtim {
				t.Errorf("%s: time %v, want %v", rel, b.Mtim, a.Mtim)
			}
			x, err1 := os.ReadFile(p)
			y, err2 := os.ReadFile(filepath.Join(got, rel))
			if string(x) != string(y) || errors.Join(err1, err2) != nil {
				t.Errorf("%s: content %q, want %q (%v)", rel, y, x, errors.Join(err1, err2))
			}
		}
		return nil
	}))
	must(t, filepath.WalkDir(got, func(string, fs.DirEntry, error) error { count--; return nil }))
	if count != 0 {
		t.Errorf("the copy has %d entries more", -count)
	}
}

func freshVolume(t *testing.T) string {
	t.Helper()
	s, _ := open(t)
	v, err := s.Create(Volume{Name: "data"})
	must(t, err)
	return v.Mountpoint
}

func TestCopyUp(t *testing.T) {
	root, dir := image(t), freshVolume(t)
	inode := stat(t, dir).Ino
	must(t, CopyUp(t.Context(), root, "/srv/data", dir))
	sameTree(t, filepath.Join(root, "srv/data"), dir)
	if stat(t, dir).Ino != inode {
		t.Error("the volume is another directory now: who has it mounted does not see the copy")
	}
	if a, b := stat(t, filepath.Join(dir, "file")), stat(t, filepath.Join(dir, "sub/hard")); a.Ino != b.Ino {
		t.Error("the hard link became a file")
	}
	b := make([]byte, 10)
	n, err := unix.Getxattr(filepath.Join(dir, "file"), "user.colour", b)
	if err != nil || string(b[:n]) != "red" {
		t.Errorf("extended attribute: %q, %v", b[:n], err)
	}
	if link, _ := os.Readlink(filepath.Join(dir, "link")); link != "/etc/outside" {
		t.Errorf("link to %q", link)
	}
	left, err := os.ReadDir(filepath.Dir(dir))
	must(t, err)
	if len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCopyUpIntoMountedVolume(t *testing.T) {
	s, _ := open(t)
	_, err := s.Create(Volume{Name: "data", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}})
	must(t, err)
	dir, err := s.Mount(t.Context(), "data", "c1")
	must(t, err)
	root := image(t)
	must(t, CopyUp(t.Context(), root, "/srv/data", dir))
	sameTree(t, filepath.Join(root, "srv/data"), dir)
	unmount(t, s, "data", "c1")
}

func TestCopyUpLeavesFullVolumeAlone(t *testing.T) {
	root, dir := image(t), freshVolume(t)
	must(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644))
	before := *stat(t, dir)
	must(t, CopyUp(t.Context(), root, "/srv/data", dir))
	if got := list(t, dir); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("content %q", got)
	}
	if after := *stat(t, dir); after.Mode != before.Mode || after.Uid != before.Uid {
		t.Error("the owner or mode changed")
	}
}

func list(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestCopyUpTakesOwnerOfEmptyDirectory(t *testing.T) {
	root, dir := t.TempDir(), freshVolume(t)
	empty := filepath.Join(root, "empty")
	must(t, os.Mkdir(empty, 0o755))
	must(t, os.Chown(empty, 70, 71))
	must(t, os.Chmod(empty, 0o1770|fs.ModeSticky))
	must(t, CopyUp(t.Context(), root, "/empty", dir))
	sameTree(t, empty, dir)
}

func TestCopyUpOfNothing(t *testing.T) {
	root, dir := image(t), freshVolume(t)
	for _, target := range []string{"/missing", "/srv/data/file/below"} {
		must(t, CopyUp(t.Context(), root, target, dir))
	}
	if err := CopyUp(t.Context(), root, "/srv/data/file", dir); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a file: got %v, want an invalid argument", err)
	}
	if got := list(t, dir); len(got) > 0 {
		t.Errorf("content %q", got)
	}
}

// A link in the image must not show the host's files to a container.
func TestCopyUpStaysInsideImage(t *testing.T) {
	root, dir := image(t), freshVolume(t)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), nil, 0o644))
	must(t, os.Symlink(outside, filepath.Join(root, "abs")))
	must(t, os.Symlink("../../../../../../../.."+outside, filepath.Join(root, "rel")))
	for _, target := range []string{"/abs", "/rel", "/../../../../../../" + outside} {
		must(t, CopyUp(t.Context(), root, target, dir))
		if got := list(t, dir); len(got) > 0 {
			t.Fatalf("%s: content %q comes from the host", target, got)
		}
	}
	must(t, os.Symlink("/srv/data", filepath.Join(root, "inside"))) // means the image's
	must(t, CopyUp(t.Context(), root, "/inside", dir))
	sameTree(t, filepath.Join(root, "srv/data"), dir)
}

// A crash at any point leaves nothing that passes for a finished copy.
func TestCopyUpAfterCrash(t *testing.T) {
	root := image(t)
	want := filepath.Join(root, "srv/data")
	t.Run("while copying", func(t *testing.T) {
		dir := freshVolume(t)
		must(t, os.MkdirAll(filepath.Join(dir+copyingSuffix, "half"), 0o755))
		must(t, CopyUp(t.Context(), root, "/srv/data", dir))
		sameTree(t, want, dir)
	})
	for name, moved := range map[string][]string{"before moving": nil, "while moving": {"file", "sub"}, "after moving": list(t, want)} {
		t.Run(name, func(t *testing.T) {
			s, path := open(t)
			v, err := s.Create(Volume{Name: "data"})
			must(t, err)
			dir := v.Mountpoint
			must(t, CopyUp(t.Context(), root, "/srv/data", dir))
			// Back to the state in which the crash left it.
			must(t, os.Rename(dir, dir+copiedSuffix))
			must(t, os.Mkdir(dir, 0o755))
			for _, m := range moved {
				must(t, os.Rename(filepath.Join(dir+copiedSuffix, m), filepath.Join(dir, m)))
			}
			_, err = Open(path)
			must(t, err)
			sameTree(t, want, dir)
		})
	}
}

func TestCopyUpAtOnce(t *testing.T) {
	root, dir := image(t), freshVolume(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if err := CopyUp(t.Context(), root, "/srv/data", dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sameTree(t, filepath.Join(root, "srv/data"), dir)
}

func TestCopyUpWaitEndsWithContext(t *testing.T) {
	root, dir := image(t), freshVolume(t)
	unlock, err := lockDir(t.Context(), filepath.Dir(dir))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CopyUp(ctx, root, "/srv/data", dir); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	unlock()
	must(t, CopyUp(t.Context(), root, "/srv/data", dir))
}
