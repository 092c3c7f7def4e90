package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func show(changes []Change) string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		lines[i] = string("CAD"[c.Kind]) + " " + c.Path
	}
	return strings.Join(lines, "\n")
}

func TestVisible(t *testing.T) {
	hidden := []string{"/dev", "/etc/hosts", "/data/in/volume"}
	for name, c := range map[string]struct {
		changes []Change
		want    string
	}{
		"nothing":             {nil, ""},
		"parents":             {[]Change{{Added, "/a/b/c"}, {Deleted, "/a/d"}}, "C /a\nC /a/b\nA /a/b/c\nD /a/d"},
		"new parents":         {[]Change{{Added, "/a"}, {Added, "/a/b"}}, "A /a\nA /a/b"},
		"files of the daemon": {[]Change{{Modified, "/etc/hosts"}, {Added, "/dev"}, {Added, "/dev/x"}, {Added, "/devices"}}, "A /devices"},
		"place of a volume":   {[]Change{{Added, "/data"}, {Added, "/data/in"}, {Added, "/data/in/volume"}}, ""},
		"beside a volume":     {[]Change{{Added, "/data"}, {Added, "/data/in"}, {Added, "/data/in/volume"}, {Added, "/data/x"}}, "A /data\nA /data/x"},
		"mode of a parent":    {[]Change{{Modified, "/etc"}, {Added, "/etc/hosts"}}, "C /etc"},
	} {
		if got := show(Visible(c.changes, hidden)); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, c.want)
		}
	}
}

func TestVisibleProperties(t *testing.T) {
	p := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 4).Draw(t, "parts"), "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		var in []Change
		for _, path := range rapid.SliceOfDistinct(p, rapid.ID).Draw(t, "paths") {
			in = append(in, Change{Kind(rapid.IntRange(0, 2).Draw(t, "kind")), path})
		}
		hidden := rapid.SliceOfN(p, 0, 3).Draw(t, "hidden")
		out := Visible(in, hidden)
		all := map[string]bool{}
		for _, c := range out {
			all[c.Path] = true
		}
		for _, c := range out {
			if dir := path.Dir(c.Path); dir != "/" && !all[dir] {
				t.Fatalf("%s without its directory", c.Path)
			}
			for _, h := range hidden {
				if c.Path == h || strings.HasPrefix(c.Path, h+"/") {
					t.Fatalf("%s is hidden by %s", c.Path, h)
				}
			}
		}
		if !slices.IsSortedFunc(out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) }) || len(all) != len(out) {
			t.Fatalf("not sorted, or twice: %v", out)
		}
	})
}

// What overlayfs keeps tells the same as reading both trees.
func TestLayerChangesAreWhatComparingFinds(t *testing.T) {
	w := newWorld(t)
	dir := func(name string) string { return filepath.Join(w.dir, name) }
	rapid.Check(t, func(rt *rapid.T) {
		for _, d := range []string{"lower", "upper", "work", "merged"} {
			must(t, os.RemoveAll(dir(d)))
			must(t, os.Mkdir(dir(d), 0o755))
		}
		grow(rt, dir("lower"))
		must(t, unix.Mount("overlay", dir("merged"), "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,index=off", dir("lower"), dir("upper"), dir("work"))))
		defer func() { must(t, unix.Unmount(dir("merged"), 0)) }()
		grow(rt, dir("merged"))
		layer, err := LayerChanges(context.Background(), dir("lower"), dir("upper"))
		if errors.Is(err, ErrRenamedDirectories) {
			rt.Skip()
		}
		must(t, err)
		both, err := Compare(context.Background(), dir("lower"), dir("merged"))
		must(t, err)
		// a file that was copied up and is as it was counts as changed in the one alone
		kinds := map[string]Kind{}
		for _, c := range Visible(both, nil) {
			kinds[c.Path] = c.Kind
		}
		extra := slices.DeleteFunc(Visible(layer, nil), func(c Change) bool {
			k, ok := kinds[c.Path]
			delete(kinds, c.Path)
			return ok && k == c.Kind || !ok && c.Kind == Modified
		})
		if len(kinds) > 0 || len(extra) > 0 {
			rt.Fatalf("layer:\n%s\nboth:\n%s\nonly layer: %v\nonly both: %v", show(Visible(layer, nil)), show(Visible(both, nil)), extra, kinds)
		}
	})
}

// A directory in place of a link is new, wherever the link led.
func TestLayerChangesDoNotFollowLinksOfTheBase(t *testing.T) {
	w := newWorld(t)
	base, upper := filepath.Join(w.dir, "base"), filepath.Join(w.dir, "upper")
	must(t, os.MkdirAll(filepath.Join(base, "real"), 0o755))
	must(t, os.WriteFile(filepath.Join(base, "real", "f"), nil, 0o644))
	for _, link := range []struct{ name, to string }{{"inside", "real"}, {"outside", "../upper"}} {
		must(t, os.Symlink(link.to, filepath.Join(base, link.name)))
		must(t, os.MkdirAll(filepath.Join(upper, link.name), 0o755))
		must(t, os.WriteFile(filepath.Join(upper, link.name, "f"), nil, 0o644))
	}
	got, err := LayerChanges(context.Background(), base, upper)
	must(t, err)
	want := []Change{{Modified, "/inside"}, {Added, "/inside/f"}, {Modified, "/outside"}, {Added, "/outside/f"}}
	if !slices.Equal(got, want) {
		t.Errorf("changes %v", got)
	}
}
