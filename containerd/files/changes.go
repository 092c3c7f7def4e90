package files

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	copyfs "github.com/containerd/continuity/fs"
	"golang.org/x/sys/unix"
)

// Kind tells how a path differs from what it was.
type Kind int

const (
	Modified Kind = iota
	Added
	Deleted
)

// Change is a path that differs.
type Change struct {
	Kind Kind
	Path string // absolute
}

// ErrRenamedDirectories says that overlayfs has moved a directory by reference:
// its layer alone does not tell what is in it.
var ErrRenamedDirectories = errors.New("the layer has renamed directories")

// LayerChanges reads from overlayfs's upper directory how a file system differs
// from base, on which it was mounted. Source: Documentation/filesystems/overlayfs.rst.
func LayerChanges(ctx context.Context, base, upper string) ([]Change, error) {
	b, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	u, err := os.OpenRoot(upper)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	l := &layer{ctx: ctx, base: b, upper: u}
	if err := l.walk(".", true); err != nil {
		return nil, err
	}
	return sorted(l.changes), nil
}

type layer struct {
	ctx         context.Context
	base, upper *os.Root
	changes     []Change
}

func (l *layer) note(k Kind, name string) {
	l.changes = append(l.changes, Change{Kind: k, Path: "/" + name})
}

// walk notes what is in the upper directory name. was says that the base has a
// directory there: nothing is looked up through a link of that name.
func (l *layer) walk(name string, was bool) error {
	dir, err := openDir(l.upper, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if value(dir, "redirect") != "" {
		return ErrRenamedDirectories
	}
	names, err := dir.Readdirnames(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if was && value(dir, "opaque") == "y" {
		if err := l.replaced(name, names); err != nil {
			return err
		}
	}
	for _, n := range names {
		if err := context.Cause(l.ctx); err != nil {
			return err
		}
		if err := l.entry(path.Join(name, n), was); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) entry(name string, inBase bool) error {
	now, err := l.upper.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var was fs.FileInfo
	missing := !inBase
	if inBase {
		was, err = l.base.Lstat(name)
		if missing = errors.Is(err, fs.ErrNotExist); err != nil && !missing {
			return err
		}
	}
	switch {
	case isWhiteout(now):
		if !missing {
			l.note(Deleted, name)
		}
		return nil
	case missing:
		l.note(Added, name)
	case !now.IsDir() || !was.IsDir() || !sameOwner(now, was):
		l.note(Modified, name)
	}
	if now.IsDir() {
		return l.walk(name, !missing && was.IsDir())
	}
	return nil
}

// replaced notes what an opaque directory no longer shows.
func (l *layer) replaced(name string, names []string) error {
	dir, err := openDir(l.base, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	old, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	kept := make(map[string]bool, len(names))
	for _, n := range names {
		kept[n] = true
	}
	for _, n := range old {
		if !kept[n] {
			l.note(Deleted, path.Join(name, n))
		}
	}
	return nil
}

// openDir opens a directory, and nothing that took its place: opening that may
// wait.
func openDir(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
}

func isWhiteout(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && fi.Mode()&os.ModeCharDevice != 0 && st.Rdev == 0
}

func sameOwner(a, b fs.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Mode == y.Mode && x.Uid == y.Uid && x.Gid == y.Gid
}

// value reads one of overlayfs's attributes, "" when it is not set.
func value(dir *os.File, name string) string {
	buf := make([]byte, unix.PathMax)
	for _, space := range []string{"trusted", "user"} {
		if n, err := unix.Fgetxattr(int(dir.Fd()), space+".overlay."+name, buf); err == nil {
			return string(buf[:n])
		}
	}
	return ""
}

// Compare finds out how root differs from base by reading both.
func Compare(ctx context.Context, base, root string) ([]Change, error) {
	kinds := map[copyfs.ChangeKind]Kind{copyfs.ChangeKindAdd: Added, copyfs.ChangeKindModify: Modified, copyfs.ChangeKindDelete: Deleted}
	var out []Change
	err := copyfs.Changes(ctx, base, root, func(k copyfs.ChangeKind, path string, _ os.FileInfo, err error) error {
		if kind, ok := kinds[k]; ok && err == nil {
			out = append(out, Change{Kind: kind, Path: path})
		}
		return err
	})
	return sorted(out), err
}

func sorted(changes []Change) []Change {
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return changes
}

// Visible is what is shown of a file system's changes: all but what is hidden,
// with all below it, and but the directories that were only made to hold that;
// and, as Docker has it, the directories in which something changed. Sorted by
// path.
func Visible(changes []Change, hidden []string) []Change {
	below := map[string]bool{} // directories above something hidden
	for _, h := range hidden {
		for d := path.Dir(h); d != "/" && d != "."; d = path.Dir(d) {
			below[d] = true
		}
	}
	isHidden := func(p string) bool {
		return slices.ContainsFunc(hidden, func(h string) bool { return p == h || strings.HasPrefix(p, h+"/") })
	}
	out := map[string]Kind{}
	var made []string
	for _, c := range changes {
		switch {
		case isHidden(c.Path):
		case c.Kind == Added && below[c.Path]:
			made = append(made, c.Path)
		default:
			out[c.Path] = c.Kind
		}
	}
	for _, p := range slices.Collect(maps.Keys(out)) {
		for d := path.Dir(p); d != "/"; d = path.Dir(d) {
			if _, ok := out[d]; !ok {
				out[d] = Modified
			}
		}
	}
	for _, d := range made {
		if _, ok := out[d]; ok {
			out[d] = Added
		}
	}
	list := make([]Change, 0, len(out))
	for p, k := range out {
		list = append(list, Change{Kind: k, Path: p})
	}
	return sorted(list)
}
