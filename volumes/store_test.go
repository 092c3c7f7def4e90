package volumes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// open returns a store in a directory of its own, unmounted after the test.
func open(t *testing.T) (*Store, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "volumes")
	s, err := Open(root)
	must(t, err)
	t.Cleanup(func() {
		if err := unmountBelow(s.root); err != nil {
			t.Error(err)
		}
	})
	return s, root
}

func names(s *Store) (out []string) {
	for _, v := range s.List() {
		out = append(out, v.Name)
	}
	return out
}

func TestStoreKeepsVolumes(t *testing.T) {
	s, root := open(t)
	want := Volume{Name: "data", Driver: "local", Labels: map[string]string{"a": "b"}, Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
	got, err := s.Create(want)
	must(t, err)
	want.Mountpoint = filepath.Join(root, "data", "_data")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	anon, err := s.Create(Volume{Name: strings.Repeat("0f", 32), Anonymous: true})
	must(t, err)
	if anon.Created.IsZero() || anon.Driver != LocalDriver {
		t.Errorf("the defaults are missing: %+v", anon)
	}
	must(t, os.WriteFile(filepath.Join(got.Mountpoint, "file"), []byte("x"), 0o644))
	got.Labels["a"] = "changed"

	again, err := Open(root)
	must(t, err)
	for _, s := range []*Store{s, again} {
		got, err := s.Get("data")
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("found again (-want +got):\n%s", diff)
		}
		if got := names(s); !slices.Equal(got, []string{anon.Name, "data"}) {
			t.Errorf("listed %q", got)
		}
	}
	if _, err := again.Get("none"); !errdefs.IsNotFound(err) {
		t.Errorf("a volume that does not exist: %v", err)
	}
}

func TestCreateAgain(t *testing.T) {
	s, _ := open(t)
	first := Volume{Name: "data", Labels: map[string]string{"a": "b"}, Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}}
	made, err := s.Create(first)
	must(t, err)
	for _, v := range []Volume{first, {Name: "data"}, {Name: "data", Driver: "local"}} {
		got, err := s.Create(v)
		must(t, err)
		if diff := cmp.Diff(made, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", v, diff)
		}
	}
	for _, v := range []Volume{
		{Name: "data", Labels: map[string]string{"a": "c"}},
		{Name: "data", Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}},
	} {
		if _, err := s.Create(v); !errdefs.IsAlreadyExists(err) {
			t.Errorf("%+v: got %v, want that it exists already", v, err)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	s, root := open(t)
	for _, v := range []Volume{
		{Name: ""}, {Name: "a"}, {Name: "../x"}, {Name: ".hidden"}, {Name: "a/b"}, {Name: strings.Repeat("x", 256)},
		{Name: "data", Options: map[string]string{"colour": "red"}},
		{Name: "data", Options: map[string]string{"size": "1g"}},
		{Name: "data", Options: map[string]string{"o": "bind"}},
		{Name: "data", Options: map[string]string{"type": "none", "o": "bind"}},
		{Name: "data", Options: map[string]string{"device": "/x"}},
	} {
		if _, err := s.Create(v); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %v, want an invalid argument", v, err)
		}
	}
	if _, err := s.Create(Volume{Name: "data", Driver: "nfs"}); !errdefs.IsNotFound(err) {
		t.Errorf("a driver that is not there: %v", err)
	}
	left, err := os.ReadDir(root)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRemove(t *testing.T) {
	s, root := open(t)
	ctx := context.Background()
	v, err := s.Create(Volume{Name: "data"})
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(v.Mountpoint, "d", "e"), 0))
	must(t, os.WriteFile(filepath.Join(v.Mountpoint, "d", "f"), nil, 0))
	if _, err := s.Mount(ctx, "data", "c1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "data"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "c1") {
		t.Errorf("mounted: got %v, want an error that names the user", err)
	}
	unmount(t, s, "data", "c1")
	must(t, s.Remove(ctx, "data"))
	if err := s.Remove(ctx, "data"); !errdefs.IsNotFound(err) {
		t.Errorf("a second time: %v", err)
	}
	unmount(t, s, "data", "c1") // of no interest any more
	left, err := os.ReadDir(root)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	_, err = s.Create(Volume{Name: "data"})
	must(t, err)
}

// Removing a volume must never delete what is merely mounted there.
func TestRemoveSparesWhatIsMounted(t *testing.T) {
	s, root := open(t)
	ctx := context.Background()
	host := t.TempDir()
	precious := filepath.Join(host, "precious")
	must(t, os.WriteFile(precious, []byte("x"), 0o644))
	_, err := s.Create(Volume{Name: "data", Options: map[string]string{"type": "none", "o": "bind", "device": host}})
	must(t, err)
	dir, err := s.Mount(ctx, "data", "c1")
	must(t, err)
	if !exists(filepath.Join(dir, "precious")) {
		t.Fatal("the directory is not mounted")
	}
	// After a crash nobody knows of the user, but the mount is there.
	again, err := Open(root)
	must(t, err)
	must(t, again.Remove(ctx, "data"))
	if !exists(precious) {
		t.Error("the bound directory's content is gone")
	}
	if mounts := below(t, root); len(mounts) > 0 {
		t.Errorf("still mounted: %q", mounts)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func below(t *testing.T, dir string) (out []string) {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	must(t, err)
	for _, m := range mounts {
		out = append(out, m.Mountpoint)
	}
	return out
}

func TestMountIsSharedAndCounted(t *testing.T) {
	s, root := open(t)
	ctx := context.Background()
	_, err := s.Create(Volume{Name: "data", Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=700,noexec"}})
	must(t, err)
	dir, err := s.Mount(ctx, "data", "c1")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644))
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	if st.Type != unix.TMPFS_MAGIC || int64(st.Blocks)*st.Bsize != 1<<20 || st.Flags&unix.ST_NOEXEC == 0 {
		t.Errorf("the mount is not as asked for: %+v", st)
	}
	_, err = s.Mount(ctx, "data", "c2")
	must(t, err)
	_, err = s.Mount(ctx, "data", "c1") // again: of no effect
	must(t, err)
	unmount(t, s, "data", "c1")
	unmount(t, s, "data", "c1")
	if !exists(filepath.Join(dir, "f")) {
		t.Fatal("unmounted while c2 uses it")
	}
	// Another daemon takes over: c2 says that it runs.
	again, err := Open(root)
	must(t, err)
	_, err = again.Mount(ctx, "data", "c2")
	must(t, err)
	if got := below(t, dir); len(got) != 1 || !exists(filepath.Join(dir, "f")) {
		t.Errorf("mounted %q, want the one mount there was", got)
	}
	unmount(t, again, "data", "c2")
	if got := below(t, dir); len(got) != 0 {
		t.Errorf("still mounted: %q", got)
	}
}

func TestMountBindReadonly(t *testing.T) {
	s, _ := open(t)
	host := t.TempDir()
	_, err := s.Create(Volume{Name: "data", Options: map[string]string{"type": "none", "o": "bind,ro", "device": host}})
	must(t, err)
	dir, err := s.Mount(context.Background(), "data", "c1")
	must(t, err)
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err == nil {
		t.Error("a read-only mount can be written")
	}
}

func TestMountFails(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	_, err := s.Create(Volume{Name: "data", Options: map[string]string{"type": "none", "o": "bind", "device": "/does/not/exist"}})
	must(t, err)
	if _, err := s.Mount(ctx, "data", "c1"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("got %v, want an error that names the device", err)
	}
	_, err = s.Create(Volume{Name: "share", Options: map[string]string{"type": "nonsense", "o": "username=me,password=secret,pass=secret", "device": "//host/share"}})
	must(t, err)
	if _, err := s.Mount(ctx, "share", "c1"); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "username=me") {
		t.Errorf("got %v, want the options without passwords", err)
	}
	must(t, s.Remove(ctx, "data")) // a failed mount makes no user
	if _, err := s.Mount(ctx, "data", "c1"); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestParseMount(t *testing.T) {
	for in, want := range map[string]mountCall{
		"":                              {},
		"bind,ro":                       {flags: unix.MS_BIND | unix.MS_RDONLY},
		"addr=10.0.0.1,rw,nfsvers=4":    {data: "addr=10.0.0.1,nfsvers=4"},
		"rbind,rslave,ro,rw,nosuid":     {flags: unix.MS_BIND | unix.MS_REC | unix.MS_NOSUID, propagation: unix.MS_SLAVE | unix.MS_REC},
		"defaults,size=5m,uid=0,noexec": {flags: unix.MS_NOEXEC, data: "size=5m,uid=0"},
	} {
		if got := parseMount(map[string]string{"o": in}); got != want {
			t.Errorf("%q: got %+v, want %+v", in, got, want)
		}
	}
	for in, want := range map[string]string{"addr=localhost,rw": "addr=127.0.0.1,rw", "addr=10.1.2.3": "addr=10.1.2.3", "vers=4": "vers=4"} {
		got, err := resolveAddr(context.Background(), "nfs4", in)
		must(t, err)
		if got != want && got != strings.Replace(want, "127.0.0.1", "::1", 1) {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// Open cleans up after a crash, and leaves alone what it does not understand.
func TestOpenAfterCrash(t *testing.T) {
	s, root := open(t)
	v, err := s.Create(Volume{Name: "data"})
	must(t, err)
	for _, d := range []string{newPrefix + "1/_data", gonePrefix + "2/old/_data/x", "broken/_data", "data/_data.copying/half"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(root, "broken/opts.json"), []byte("{"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "broken/_data/user"), nil, 0o644))
	again, err := Open(root)
	must(t, err)
	if got := names(again); !slices.Equal(got, []string{"data"}) {
		t.Errorf("got volumes %q", got)
	}
	if !exists(filepath.Join(root, "broken/_data/user")) {
		t.Error("the data of a volume with a broken record is gone")
	}
	if _, err := again.Create(Volume{Name: "broken"}); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "record") {
		t.Errorf("got %v, want an error about the record", err)
	}
	dirs, err := os.ReadDir(root)
	must(t, err)
	if len(dirs) != 2 || exists(v.Mountpoint+copyingSuffix) {
		t.Errorf("left behind: %v", dirs)
	}
}

func TestManyAtOnce(t *testing.T) {
	s, root := open(t)
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			user := fmt.Sprint("c", i)
			for range 20 {
				if _, err := s.Create(Volume{Name: "shared", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}}); err != nil {
					t.Error(err)
				}
				if dir, err := s.Mount(ctx, "shared", user); err == nil {
					if got := below(t, dir); len(got) != 1 {
						t.Errorf("mounted %q, want once", got)
					}
				} else if !errdefs.IsNotFound(err) {
					t.Error(err)
				}
				if _, err := s.Unmount(ctx, "shared", user); err != nil {
					t.Error(err)
				}
				if err := s.Remove(ctx, "shared"); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(names(s)) == 1 {
		must(t, s.Remove(ctx, "shared"))
	}
	left, err := os.ReadDir(root)
	must(t, err)
	if len(left) > 0 || len(below(t, root)) > 0 {
		t.Errorf("left behind: %v, mounts %q", left, below(t, root))
	}
}

func unmount(t *testing.T, s *Store, name, user string) {
	t.Helper()
	_, err := s.Unmount(t.Context(), name, user)
	must(t, err)
}
