package files

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// evil are archives that try to get out.
func evil(t testing.TB, dir string) map[string][]byte {
	out := map[string][]byte{}
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	hard := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	for name, headers := range map[string][]tar.Header{
		"dots":              {file("../outside/x"), file("dir/../../outside/x"), file("../../../../../../.." + dir + "/outside/x")},
		"absolute":          {file(dir + "/outside/x")},
		"existing link":     {file("abs/x"), file("up/x"), file("dir/far/x"), file("chain/x")},
		"overwrite link":    {file("abs"), file("up")},
		"own link":          {link("l", dir+"/outside"), file("l/x")},
		"own relative link": {link("l", "../outside"), file("l/x")},
		"chain of links":    {link("a", "b"), link("b", "c"), link("c", "../outside"), file("a/secret")},
		"directory at link": {{Typeflag: tar.TypeDir, Name: "up/", Mode: 0o777, Uid: 5}, {Typeflag: tar.TypeDir, Name: "abs/sub/", Mode: 0o777}},
		"hard link out":     {hard("h", "../outside/secret"), file("h")},
		"hard link abs":     {hard("h", dir+"/outside/secret"), {Typeflag: tar.TypeReg, Name: "h", Mode: 0o777}},
		"hard link by link": {hard("h", "up/secret"), file("h"), hard("i", "abs/secret"), file("i")},
		"link then hard":    {link("s", "../outside/secret"), hard("h", "s"), {Typeflag: tar.TypeReg, Name: "h", Mode: 0o777}},
		"device at link":    {{Typeflag: tar.TypeChar, Name: "up/null", Devmajor: 1, Devminor: 3}, {Typeflag: tar.TypeFifo, Name: "abs/fifo"}},
		"attribute":         {link("s", dir+"/outside/secret"), {Typeflag: tar.TypeReg, Name: "up/secret", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}}, {Typeflag: tar.TypeSymlink, Name: "s", Linkname: dir + "/outside/secret", PAXRecords: map[string]string{"SCHILY.xattr.trusted.x": "y"}}},
		"long":              {file(strings.Repeat("long/", 900) + "x")},
		"whiteout":          {file("up/.wh.secret"), file("up/.wh..wh..opq")},
	} {
		out[name] = archiveOf(t, headers...)
	}
	return out
}

func TestUnpackStaysInside(t *testing.T) {
	w := newWorld(t)
	for name, archive := range evil(t, w.dir) {
		for _, at := range []string{"/", "/dir", "/dir/etc", "/abs", "/up", "/chain", "/../outside", w.dir + "/outside", "/dir/far/.", "loop"} {
			w.fill()
			before := w.outside()
			err := w.unpack(at, archive)
			if after := w.outside(); after != before {
				t.Errorf("%s at %s: %v: outside is\n%s, was\n%s", name, at, err, after, before)
			}
		}
	}
}

func TestUnpackFollowsLinksAsTheContainerWould(t *testing.T) {
	w := newWorld(t)
	must(t, w.unpack("/dir/etc", archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "new"})))
	if _, err := os.Stat(filepath.Join(w.root, "etc/new")); err != nil {
		t.Error(err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	w := newWorld(t)
	good := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "first"}, tar.Header{Typeflag: tar.TypeReg, Name: "second"})
	sparse := sparseArchive(t, 1<<40)
	for name, c := range map[string]struct {
		path    string
		archive []byte
		is      func(error) bool
	}{
		"no directory":      {"/etc/passwd", good, errdefs.IsInvalidArgument},
		"nothing there":     {"/none", good, func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
		"cut in a header":   {"/", good[:1300], errdefs.IsInvalidArgument},
		"cut in a file":     {"/", good[:514], errdefs.IsInvalidArgument},
		"no archive":        {"/", bytes.Repeat([]byte("text "), 200), errdefs.IsInvalidArgument},
		"broken gzip":       {"/", []byte("\x1f\x8b\x08garbage that is none"), errdefs.IsInvalidArgument},
		"huge header":       {"/", hugeHeader(t), errdefs.IsInvalidArgument},
		"larger than space": {"/", sparse, func(err error) bool { return isErrno(err, unix.ENOSPC) || isErrno(err, unix.EFBIG) }},
	} {
		w.fill()
		if err := w.unpack(c.path, c.archive); err == nil || !c.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnpackEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	if err := w.tree.Unpack(ctx, "/", bytes.NewReader(sparseArchive(t, 1<<60)), UnpackOptions{}); !errors.Is(err, why) {
		t.Error(err)
	}
}

// sparseArchive holds one file that is a hole of size bytes, as GNU tar writes it.
func sparseArchive(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "hole", Mode: 0o600}))
	must(t, w.Close())
	raw := b.Bytes()
	raw[156] = tar.TypeGNUSparse
	copy(raw[257:], "ustar  \x00")
	number := func(at int, n int64) { // base-256
		f := raw[at : at+12]
		clear(f)
		f[0] = 0x80
		for i := range 8 {
			f[11-i] = byte(n >> (8 * i))
		}
	}
	clear(raw[345:500])
	number(386, size) // one piece of no bytes, at the end
	number(398, 0)
	number(483, size)
	copy(raw[148:156], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	copy(raw[148:156], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	return raw
}

// hugeHeader has an extended header that says to be 8 GiB.
func hugeHeader(t testing.TB) []byte {
	t.Helper()
	raw := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("ö", 200)})
	copy(raw[124:136], "77777777777\x00")
	copy(raw[148:156], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	copy(raw[148:156], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	return raw
}

// A process of the container exchanges directories and links all the time.
func TestNothingEscapesARace(t *testing.T) {
	w := newWorld(t)
	before := w.outside()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		a, b := filepath.Join(w.root, "dir"), filepath.Join(w.root, "abs")
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	archive := archiveOf(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "dir/sub/secret", PAXRecords: map[string]string{"SCHILY.xattr.trusted.x": "y"}},
		tar.Header{Typeflag: tar.TypeReg, Name: "dir/secret", Mode: 0o777},
		tar.Header{Typeflag: tar.TypeDir, Name: "dir/sub/", Mode: 0o777},
		tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "dir/secret"})
	for range 200 {
		_ = w.unpack("/", archive)
		_ = w.unpack("/dir", archive)
		for _, path := range []string{"/", "/dir/.", "/abs/secret", "/dir/sub/"} {
			got, err := w.pack(path)
			if bytes.Contains(got, []byte(secret)) {
				t.Fatalf("%s: the archive holds what is outside: %v", path, err)
			}
		}
	}
	close(stop)
	<-stopped
	if after := w.outside(); after != before {
		t.Errorf("outside is\n%s, was\n%s", after, before)
	}
}

// FuzzUnpack unpacks any bytes.
func FuzzUnpack(f *testing.F) {
	w := newWorld(f)
	for _, a := range evil(f, w.dir) {
		f.Add(a, "/")
	}
	f.Add(sparseArchive(f, 1<<50), "/dir")
	f.Add(hugeHeader(f), "/up/..")
	f.Add([]byte("\x1f\x8b\x08"), "/")
	f.Fuzz(func(t *testing.T, archive []byte, path string) {
		w.t = t
		w.fill()
		before := w.outside()
		_ = w.unpack(path, archive)
		if after := w.outside(); after != before {
			t.Errorf("outside is\n%s, was\n%s", after, before)
		}
	})
}

// FuzzUnpackEntries unpacks archives of up to three entries that are well formed.
func FuzzUnpackEntries(f *testing.F) {
	w := newWorld(f)
	f.Add("l", w.dir+"/outside", byte(tar.TypeSymlink), "l/x", "", byte(tar.TypeReg), "l", "l/secret", byte(tar.TypeLink))
	f.Add("a/b", "..", byte(tar.TypeSymlink), "a/b/../../outside", "", byte(tar.TypeDir), "x", "\x00", byte(tar.TypeChar))
	f.Fuzz(func(t *testing.T, n1, l1 string, t1 byte, n2, l2 string, t2 byte, n3, l3 string, t3 byte) {
		w.t = t
		w.fill()
		before := w.outside()
		_ = w.unpack("/", archiveOf(t, tar.Header{Name: n1, Linkname: l1, Typeflag: t1}, tar.Header{Name: n2, Linkname: l2, Typeflag: t2}, tar.Header{Name: n3, Linkname: l3, Typeflag: t3}))
		if after := w.outside(); after != before {
			t.Errorf("outside is\n%s, was\n%s", after, before)
		}
	})
}
