package files

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func names(t testing.TB, archive []byte) (out []string) {
	t.Helper()
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(t, err)
		out = append(out, h.Name)
	}
}

// The names in an archive are those that docker cp counts on.
func TestPackNames(t *testing.T) {
	w := newWorld(t)
	must(t, os.RemoveAll(filepath.Join(w.root, "dir/far")))
	for path, want := range map[string]string{
		"/dir":            "dir/ dir/etc dir/sub/",
		"dir/":            "dir/ dir/etc dir/sub/",
		"/dir/.":          "./ ./etc ./sub/",
		"/dir/etc":        "etc",             // the link
		"/dir/etc/":       "etc/ etc/passwd", // what it leads to
		"/dir/etc/.":      "./ ./passwd",     //
		"/chain/../etc":   "etc/ etc/passwd", // as docker cp cleans it
		"/etc/passwd":     "passwd",          //
		"/..//etc/passwd": "passwd",          //
		"/":               "/ /abs /chain /chain2 /dangling /dir/ /dir/etc /dir/sub/ /etc/ /etc/passwd /loop /up",
	} {
		got, err := w.pack(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if have := strings.Join(names(t, got), " "); have != want {
			t.Errorf("%s: %s, want %s", path, have, want)
		}
	}
	for path, want := range map[string]error{"/none": os.ErrNotExist, "/etc/passwd/": unix.ENOTDIR, "/abs/": os.ErrNotExist, "/loop/": unix.ELOOP, w.dir: os.ErrNotExist} {
		if _, err := w.pack(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestStat(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"/":            "/ d ",
		"/dir":         "dir d ",
		"/dir/.":       ". d ",
		"/dir/etc":     "etc L /etc",
		"/dir/etc/":    "etc d ",
		"/etc/passwd":  "passwd - ",
		"/abs":         "abs L " + w.dir + "/outside",
		"/up":          "up L /outside",
		"/dangling":    "dangling L /dir/new",
		"/../../dir/.": ". d ",
	} {
		st, err := w.tree.Stat(path)
		if got := fmt.Sprintf("%s %.1s %s", st.Name, st.Mode, st.LinkTarget); err != nil || got != want {
			t.Errorf("%s: %q, want %q, %v", path, got, want, err)
		}
	}
}

func TestPackDoesNotWaitAndKeepsSizes(t *testing.T) {
	w := newWorld(t)
	must(t, unix.Mkfifo(filepath.Join(w.root, "dir/fifo"), 0o600))
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(s)
	must(t, unix.Bind(s, &unix.SockaddrUnix{Name: filepath.Join(w.root, "dir/socket")}))
	got, err := w.pack("/dir")
	if want := []string{"dir/", "dir/etc", "dir/far", "dir/fifo", "dir/sub/"}; err != nil || !slices.Equal(names(t, got), want) {
		t.Errorf("%q %v", names(t, got), err)
	}
	// cut off while it is read
	f := filepath.Join(w.root, "shrinks")
	must(t, os.WriteFile(f, bytes.Repeat([]byte("x"), 1<<20), 0o600))
	var b bytes.Buffer
	must(t, w.tree.Pack(context.Background(), "/shrinks", writer(func(p []byte) (int, error) {
		must(t, os.Truncate(f, 0))
		return b.Write(p)
	})))
	r := tar.NewReader(&b)
	h, err := r.Next()
	must(t, err)
	n, err := io.Copy(io.Discard, r)
	if err != nil || n != 1<<20 || h.Size != 1<<20 {
		t.Errorf("%d bytes of %d: %v", n, h.Size, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.tree.PackAll(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// What is packed and unpacked is what it was.
func TestPackAndUnpackAreInverse(t *testing.T) {
	from, to := newWorld(t), newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		clean(t, from.root)
		clean(t, to.root)
		grow(rt, from.root)
		var b bytes.Buffer
		if err := from.tree.PackAll(context.Background(), &b); err != nil {
			rt.Fatal(err)
		}
		if err := to.unpack("/", b.Bytes()); err != nil {
			rt.Fatal(err)
		}
		if a, b := describe(t, from.root), describe(t, to.root); a != b {
			rt.Fatalf("packed:\n%s\nunpacked:\n%s", a, b)
		}
	})
}

func clean(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		must(t, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
}

// grow changes a directory at random.
func grow(t *rapid.T, root string) {
	part := rapid.SampledFrom([]string{"a", "b", "ü", "\xff", "c d"})
	name := rapid.Custom(func(t *rapid.T) string {
		return filepath.Join(append([]string{root}, rapid.SliceOfN(part, 1, 3).Draw(t, "parts")...)...)
	})
	for range rapid.IntRange(0, 12).Draw(t, "steps") {
		p, q := name.Draw(t, "name"), name.Draw(t, "other")
		_ = os.MkdirAll(filepath.Dir(p), 0o755)
		switch rapid.IntRange(0, 8).Draw(t, "step") {
		case 0, 1:
			_ = os.WriteFile(p, rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "content"), 0o644)
		case 2:
			_ = os.Mkdir(p, 0o755)
		case 3:
			_ = os.Symlink(q, p)
		case 4:
			_ = os.Link(q, p)
		case 5:
			_ = unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3)))
		case 6:
			_ = os.RemoveAll(p)
		case 7:
			if os.Lchown(p, 1000, 2000) == nil && unix.Access(p, unix.F_OK) == nil {
				if fi, err := os.Lstat(p); err == nil && fi.Mode()&os.ModeSymlink == 0 {
					_ = unix.Chmod(p, rapid.SampledFrom([]uint32{0o600, 0o4755, 0o1777, 0}).Draw(t, "mode"))
				}
			}
		case 8:
			_ = os.Rename(p, q)
		}
	}
}
