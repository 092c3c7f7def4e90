package files

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// secret is what lies outside of every tree and must neither be read nor changed.
const secret = "of the host alone"

// world is a small file system of its own with a tree and, beside it, what
// nobody may reach.
type world struct {
	t    testing.TB
	dir  string
	root string
	tree *Tree
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "files")
	must(t, err)
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m,nr_inodes=20k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	w := &world{t: t, dir: dir, root: filepath.Join(dir, "root")}
	w.fill()
	return w
}

// fill makes everything anew.
func (w *world) fill() {
	if w.tree != nil {
		w.tree.Close()
	}
	entries, err := os.ReadDir(w.dir)
	must(w.t, err)
	for _, e := range entries {
		must(w.t, os.RemoveAll(filepath.Join(w.dir, e.Name())))
	}
	for _, d := range []string{"outside/sub", "root/dir/sub", "root/etc"} {
		must(w.t, os.MkdirAll(filepath.Join(w.dir, d), 0o755))
	}
	for _, f := range []string{"outside/secret", "outside/sub/secret", "root/etc/passwd"} {
		must(w.t, os.WriteFile(filepath.Join(w.dir, f), []byte(strings.TrimPrefix(secret, "root/etc")), 0o600))
	}
	must(w.t, os.WriteFile(filepath.Join(w.root, "etc/passwd"), []byte("inside"), 0o644))
	for name, target := range map[string]string{
		"abs": w.dir + "/outside", "up": "../outside", "dir/far": "../../../../../../../.." + w.dir + "/outside",
		"chain": "chain2", "chain2": "dir/../up", "loop": "loop", "dir/etc": "/etc", "dangling": "/dir/none/../new",
	} {
		must(w.t, os.Symlink(target, filepath.Join(w.root, name)))
	}
	root, err := os.Open(w.root)
	must(w.t, err)
	w.tree = &Tree{root: root}
	w.t.Cleanup(func() { root.Close() })
}

// outside describes all that lies beside the tree.
func (w *world) outside() string { return describe(w.t, filepath.Join(w.dir, "outside")) }

func describe(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%q %o %d:%d rdev %d", rel, st.Mode, st.Uid, st.Gid, st.Rdev)
		if !d.IsDir() {
			fmt.Fprintf(&b, " links %d", st.Nlink)
		}
		switch {
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %q", st.Mtim.Sec, content)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %q", target)
		}
		names := make([]byte, 4096)
		if n, err := unix.Llistxattr(path, names); err == nil && n > 0 {
			fmt.Fprintf(&b, " %q", names[:n])
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

func (w *world) unpack(path string, archive []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return w.tree.Unpack(ctx, path, bytes.NewReader(archive), UnpackOptions{})
}

func (w *world) pack(path string) ([]byte, error) {
	var b bytes.Buffer
	err := w.tree.Pack(context.Background(), path, &b)
	return b.Bytes(), err
}

// archiveOf makes an archive of headers; regular files hold their names.
func archiveOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Skip(err)
		}
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, h.Name)
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

func isErrno(err error, want syscall.Errno) bool { return errors.Is(err, want) }
