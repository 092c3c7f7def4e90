package volumes

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"pgregory.net/rapid"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestParseBind(t *testing.T) {
	bind := func(source, target string) Point {
		return Point{Type: mount.TypeBind, Source: source, Target: target, RW: true, CreateHostPath: true}
	}
	with := func(p Point, change func(*Point)) Point { change(&p); return p }
	for in, want := range map[string]Point{
		"/a:/b":           bind("/a", "/b"),
		"/a/../c/:/b//d/": bind("/c", "/b/d"),
		"/a:/b:ro":        with(bind("/a", "/b"), func(p *Point) { p.RW, p.Mode = false, "ro" }),
		"/a:/b:rw,z":      with(bind("/a", "/b"), func(p *Point) { p.Mode = "rw,z" }),
		"/a:/b:rslave,ro,cached": with(bind("/a", "/b"), func(p *Point) {
			p.RW, p.Mode, p.Propagation = false, "rslave,ro,cached", mount.PropagationRSlave
		}),
		"data:/b":           {Type: mount.TypeVolume, Name: "data", Target: "/b", RW: true},
		"data:/b:nocopy,ro": {Type: mount.TypeVolume, Name: "data", Target: "/b", Mode: "nocopy,ro", NoCopy: true},
		"/b":                {Type: mount.TypeVolume, Target: "/b", RW: true, Anonymous: true},
	} {
		got, err := ParseBind(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{
		"", ":", "a", ":/b", "/a:", "/a:b", "/a:/", "/a:/b/..", "/b:ro", "./a:/b", "d:/b", "-x:/b", "a/b:/c", "/a:/b:", "/a:/b:ro,rw",
		"/a:/b:what", "/a:/b:nocopy", "data:/b:rshared", "/a:/b:z,Z", "/a:/b:shared,private", "/a:/b:ro:x", "/a\x00:/b", "/", strings.Repeat("n", 256) + ":/b",
	} {
		if p, err := ParseBind(in); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %+v and %v, want an invalid argument", in, p, err)
		}
	}
}

func TestPoints(t *testing.T) {
	r := Request{
		Volumes: map[string]struct{}{"/data": {}, "/covered": {}, "/kept/": {}, "/from": {}},
		Binds:   []string{"/host:/covered/below", "named:/a/b:ro"},
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: "/src", Target: "/covered", ReadOnly: true, BindOptions: &mount.BindOptions{CreateMountpoint: true, NonRecursive: true}},
			{Type: mount.TypeVolume, Source: "vol", Target: "/v", VolumeOptions: &mount.VolumeOptions{NoCopy: true, Subpath: "x/y", Labels: map[string]string{"l": "1"}, DriverConfig: &mount.Driver{Name: "local", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}}}},
			{Type: mount.TypeVolume, Target: "/anon"},
			{Type: mount.TypeTmpfs, Target: "/t", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o1770, Options: [][]string{{"exec"}, {"uid", "5"}}}},
			{Type: mount.TypeBind, Source: "/var/lib", Target: "/host/lib"},
		},
		Tmpfs:        map[string]string{"/run": "ro,size=64m,mode=755,size=32m"},
		VolumeDriver: "local",
		From:         []Point{{Type: mount.TypeVolume, Name: "theirs", Target: "/from", RW: true}, {Type: mount.TypeBind, Source: "/z", Target: "/v"}},
		Carried:      map[string]string{"/kept": "kept-name", "/v": "not this", "/anon": "anon-name", "/gone": "x"},
		DataRoot:     "/var/lib/gantry",
	}
	got, err := Points(r)
	must(t, err)
	want := []Point{
		{Type: mount.TypeVolume, Name: "anon-name", Target: "/anon", RW: true, Anonymous: true},
		{Type: mount.TypeBind, Source: "/src", Target: "/covered", CreateHostPath: true, NonRecursive: true},
		{Type: mount.TypeVolume, Target: "/data", RW: true, Anonymous: true},
		{Type: mount.TypeVolume, Name: "theirs", Target: "/from", RW: true},
		{Type: mount.TypeVolume, Name: "kept-name", Target: "/kept", RW: true, Anonymous: true},
		{Type: mount.TypeTmpfs, Target: "/run", Tmpfs: []string{"mode=755", "size=32m"}},
		{Type: mount.TypeTmpfs, Target: "/t", RW: true, Tmpfs: []string{"size=1048576", "mode=1770", "exec", "uid=5"}},
		{Type: mount.TypeVolume, Name: "vol", Target: "/v", RW: true, NoCopy: true, Subpath: "x/y", Labels: map[string]string{"l": "1"}, Driver: "local", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}},
		{Type: mount.TypeVolume, Name: "named", Target: "/a/b", Mode: "ro", Driver: "local"},
		{Type: mount.TypeBind, Source: "/host", Target: "/covered/below", RW: true, CreateHostPath: true},
		{Type: mount.TypeBind, Source: "/var/lib", Target: "/host/lib", RW: true, Propagation: mount.PropagationRSlave},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPointsRefuses(t *testing.T) {
	one := func(m mount.Mount) Request { return Request{Mounts: []mount.Mount{m}} }
	for name, c := range map[string]struct {
		r    Request
		says string
	}{
		"two binds":           {Request{Binds: []string{"/a:/x", "/b:/x/"}}, "Duplicate mount point: /x"},
		"bind and tmpfs":      {Request{Binds: []string{"/a:/x"}, Tmpfs: map[string]string{"/x": ""}}, "Duplicate mount point: /x"},
		"two tmpfs":           {Request{Tmpfs: map[string]string{"/x": "", "/x/": ""}}, "Duplicate mount point: /x"},
		"relative volume":     {Request{Volumes: map[string]struct{}{"data": {}}}, `"data"`},
		"root":                {one(mount.Mount{Type: mount.TypeVolume, Target: "/."}), "root"},
		"no target":           {one(mount.Mount{Type: mount.TypeVolume}), "no target"},
		"no source":           {one(mount.Mount{Type: mount.TypeBind, Target: "/x"}), "absolute"},
		"options of another":  {one(mount.Mount{Type: mount.TypeBind, Source: "/a", Target: "/x", TmpfsOptions: &mount.TmpfsOptions{}}), "tmpfs"},
		"propagation":         {one(mount.Mount{Type: mount.TypeBind, Source: "/a", Target: "/x", BindOptions: &mount.BindOptions{Propagation: "odd"}}), "odd"},
		"volume name":         {one(mount.Mount{Type: mount.TypeVolume, Source: "../x", Target: "/x"}), "../x"},
		"subpath leads out":   {one(mount.Mount{Type: mount.TypeVolume, Source: "vol", Target: "/x", VolumeOptions: &mount.VolumeOptions{Subpath: "../y"}}), "../y"},
		"subpath of nothing":  {one(mount.Mount{Type: mount.TypeVolume, Target: "/x", VolumeOptions: &mount.VolumeOptions{Subpath: "y"}}), "subpath"},
		"tmpfs source":        {one(mount.Mount{Type: mount.TypeTmpfs, Source: "/a", Target: "/x"}), "/a"},
		"tmpfs size":          {one(mount.Mount{Type: mount.TypeTmpfs, Target: "/x", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: -1}}), "-1"},
		"tmpfs option":        {one(mount.Mount{Type: mount.TypeTmpfs, Target: "/x", TmpfsOptions: &mount.TmpfsOptions{Options: [][]string{{"what"}}}}), "what"},
		"tmpfs option, empty": {one(mount.Mount{Type: mount.TypeTmpfs, Target: "/x", TmpfsOptions: &mount.TmpfsOptions{Options: [][]string{{}}}}), "option"},
		"tmpfs string":        {Request{Tmpfs: map[string]string{"/x": "size=big"}}, "size=big"},
		"image without one":   {one(mount.Mount{Type: mount.TypeImage, Target: "/x"}), "source"},
		"image's subpath":     {one(mount.Mount{Type: mount.TypeImage, Source: "i", Target: "/x", ImageOptions: &mount.ImageOptions{Subpath: "../y"}}), "../y"},
		"npipe":               {one(mount.Mount{Type: mount.TypeNamedPipe, Target: "/x"}), "npipe"},
	} {
		_, err := Points(c.r)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an invalid argument that says %q", name, err, c.says)
		}
	}
}

// Whatever is asked for: no target twice, no parent after its child, nothing
// explicit lost, and the order of the request is of no matter.
func TestPointsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := rapid.Custom(func(t *rapid.T) string {
			return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 4).Draw(t, "parts"), "/")
		})
		targets := rapid.SliceOfNDistinct(target, 0, 8, rapid.ID).Draw(t, "explicit")
		r := Request{Volumes: map[string]struct{}{}, Tmpfs: map[string]string{}}
		for _, v := range rapid.SliceOfN(target, 0, 5).Draw(t, "declared") {
			r.Volumes[v] = struct{}{}
		}
		for _, v := range rapid.SliceOfN(target, 0, 5).Draw(t, "from") {
			r.From = append(r.From, Point{Type: mount.TypeVolume, Name: "from", Target: v})
		}
		for i, v := range targets {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				r.Binds = append(r.Binds, fmt.Sprintf("/src%d:%s", i, v))
			case 1:
				r.Mounts = append(r.Mounts, mount.Mount{Type: mount.TypeVolume, Source: fmt.Sprintf("vol%d", i), Target: v})
			case 2:
				r.Tmpfs[v] = "size=1m"
			}
		}
		got, err := Points(r)
		if err != nil {
			t.Fatal(err)
		}
		at := map[string]int{}
		for i, p := range got {
			if _, twice := at[p.Target]; twice {
				t.Fatalf("%q is there twice", p.Target)
			}
			at[p.Target] = i
		}
		for child, i := range at {
			for parent := path.Dir(child); parent != "/"; parent = path.Dir(parent) {
				if j, ok := at[parent]; ok && j > i {
					t.Fatalf("%q comes after %q", parent, child)
				}
			}
		}
		for _, v := range targets {
			i, ok := at[v]
			if !ok || got[i].Anonymous || got[i].Name == "from" {
				t.Fatalf("the explicit mount at %q is hidden", v)
			}
		}
		for v := range r.Volumes {
			if _, ok := at[v]; !ok {
				t.Fatalf("the declared volume at %q is lost", v)
			}
		}
		slices.Reverse(r.Binds)
		slices.Reverse(r.Mounts)
		again, err := Points(r)
		if err != nil || !cmp.Equal(got, again) {
			t.Fatalf("another order of the request gives another result: %v\n%s", err, cmp.Diff(got, again))
		}
	})
}

func TestMountOptions(t *testing.T) {
	for _, c := range []struct {
		p    Point
		want string
	}{
		{Point{Type: mount.TypeBind, RW: true}, "rbind,rprivate"},
		{Point{Type: mount.TypeVolume}, "rbind,rprivate,rro"},
		{Point{Type: mount.TypeBind, NonRecursive: true}, "bind,rprivate,ro"},
		{Point{Type: mount.TypeBind, ReadOnlyNonRecursive: true, Propagation: mount.PropagationRShared}, "rbind,rshared,ro"},
		{Point{Type: mount.TypeTmpfs, RW: true, Tmpfs: []string{"exec", "size=1m"}}, "noexec,nosuid,nodev,exec,size=1m"},
		{Point{Type: mount.TypeTmpfs}, "noexec,nosuid,nodev,ro"},
	} {
		if got := strings.Join(c.p.MountOptions(), ","); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.p, got, c.want)
		}
	}
}

func TestMountPoint(t *testing.T) {
	got := []container.MountPoint{
		Point{Type: mount.TypeVolume, Name: "v", Source: "/s", Target: "/t", RW: true}.MountPoint(),
		Point{Type: mount.TypeBind, Source: "/s", Target: "/t", Mode: "ro"}.MountPoint(),
		Point{Type: mount.TypeTmpfs, Target: "/t", RW: true}.MountPoint(),
	}
	want := []container.MountPoint{
		{Type: mount.TypeVolume, Name: "v", Source: "/s", Destination: "/t", Driver: "local", RW: true},
		{Type: mount.TypeBind, Source: "/s", Destination: "/t", Mode: "ro", Propagation: mount.PropagationRPrivate},
		{Type: mount.TypeTmpfs, Destination: "/t", RW: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTmpfsOptions(t *testing.T) {
	for in, want := range map[string][]string{
		"exec,size=1g,noexec":         {"size=1g", "noexec"},
		"mpol=bind:0-1,3,uid=7":       {"mpol=bind:0-1,3", "uid=7"},
		"size=50%,nr_inodes=10k":      {"size=50%", "nr_inodes=10k"},
		"mode=01777,huge=advise":      {"mode=01777", "huge=advise"},
		"noatime,relatime,nodiratime": {"noatime", "relatime", "nodiratime"},
	} {
		p, err := parseTmpfs("/x", in)
		if err != nil || !slices.Equal(p.Tmpfs, want) {
			t.Errorf("%q: got %q and %v, want %q", in, p.Tmpfs, err, want)
		}
	}
	for _, in := range []string{",", "size", "size=", "exec=1", "mode=999", "uid=root", "what=1", "remount", "bind"} {
		if p, err := parseTmpfs("/x", in); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %q and %v, want an invalid argument", in, p.Tmpfs, err)
		}
	}
	if got := unixMode(fs.ModeSticky | 0o755); got != 0o1755 {
		t.Errorf("sticky: got %o", got)
	}
}

func FuzzParseBind(f *testing.F) {
	for _, s := range []string{"/a:/b:ro", "vol:/x", "/x", "a:/b:nocopy,ro", "::", "/a:/b:rshared,z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseBind(s)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q: %v is no invalid argument", s, err)
			}
			return
		}
		if !path.IsAbs(p.Target) || path.Clean(p.Target) != p.Target || p.Target == "/" {
			t.Errorf("%q: target %q", s, p.Target)
		}
		switch p.Type {
		case mount.TypeBind:
			if !path.IsAbs(p.Source) || p.Name != "" || p.NoCopy {
				t.Errorf("%q: bind %+v", s, p)
			}
		case mount.TypeVolume:
			if p.Source != "" || p.Anonymous == (CheckName(p.Name) == nil) {
				t.Errorf("%q: volume %+v", s, p)
			}
		default:
			t.Errorf("%q: type %q", s, p.Type)
		}
	})
}

func FuzzTmpfsOptions(f *testing.F) {
	for _, s := range []string{"size=1m,mode=755", "ro,rw", "mpol=bind:0,1", ",", "exec,noexec"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseTmpfs("/x", s)
		if err != nil {
			return
		}
		again, err := parseTmpfs("/x", strings.Join(p.Tmpfs, ","))
		if err != nil || !slices.Equal(p.Tmpfs, again.Tmpfs) {
			t.Errorf("%q: %q reads as %q, %v", s, p.Tmpfs, again.Tmpfs, err)
		}
		seen := map[string]bool{}
		for _, o := range p.Tmpfs {
			n, _, _ := strings.Cut(o, "=")
			if seen[n] || seen[tmpfsFlags[n]] && tmpfsFlags[n] != "" {
				t.Errorf("%q: %q is contradictory", s, p.Tmpfs)
			}
			seen[n] = true
		}
	})
}
