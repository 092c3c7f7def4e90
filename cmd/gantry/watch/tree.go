package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing changes before a number of changes is told:
	// editors and compilers write many files, each several times.
	quiet = 100 * time.Millisecond
	// patience bounds how long changes are held back while more come.
	patience = 2 * time.Second
)

// Tree tells of changes below the paths of rules.
type Tree struct {
	rules   []Rule
	watcher *fsnotify.Watcher
}

// Open begins to watch: what changes from then on is told by Run.
func Open(rules []Rule) (*Tree, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	t := &Tree{rules: rules, watcher: w}
	for _, r := range rules {
		dir := r.Path
		if !isDir(dir) {
			dir = filepath.Dir(dir) // an editor replaces a file by another one
		}
		if err := t.add(dir, dir == r.Path); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return t, nil
}

// Close ends the watching.
func (t *Tree) Close() error { return t.watcher.Close() }

// add watches a directory, with all below it that any rule is about.
func (t *Tree) add(root string, whole bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case vanished(err): // gone again
			return nil
		case err != nil:
			return fmt.Errorf("watch %q: %w", path, err)
		case !d.IsDir():
			return nil
		case path != root && (!whole || !t.concerns(path)):
			return filepath.SkipDir
		}
		if err := t.watcher.Add(path); err != nil && !vanished(err) {
			return fmt.Errorf("watch %q: %w (fs.inotify.max_user_watches bounds how many directories can be watched)", path, err)
		}
		return nil
	})
}

func (t *Tree) concerns(dir string) bool {
	return slices.ContainsFunc(t.rules, func(r Rule) bool { return !r.Skips(dir) })
}

// Run calls changed with the files that have changed, come or gone, sorted, as
// soon as nothing changes for a moment, until ctx ends. When the kernel could not
// keep up, all rules' paths count as changed.
func (t *Tree) Run(ctx context.Context, changed func(files []string)) error {
	pending := map[string]bool{}
	var due <-chan time.Time
	var first time.Time
	note := func(file string) {
		if len(pending) == 0 {
			first = time.Now()
		}
		pending[file] = true
		due = time.After(max(0, min(quiet, patience-time.Since(first))))
	}
	for {
		select {
		case e, ok := <-t.watcher.Events:
			if !ok {
				return nil
			}
			if e.Has(fsnotify.Create) && isDir(e.Name) && t.concerns(e.Name) {
				if err := t.add(e.Name, true); err != nil {
					return err
				}
			}
			note(e.Name)
		case err, ok := <-t.watcher.Errors:
			switch {
			case !ok:
				return nil
			case !errors.Is(err, fsnotify.ErrEventOverflow):
				return fmt.Errorf("watch files: %w", err)
			}
			for _, r := range t.rules {
				if info, err := os.Stat(r.Path); err == nil && info.IsDir() {
					if err := t.add(r.Path, true); err != nil {
						return err
					}
				}
				note(r.Path)
			}
		case <-due:
			files := slices.Sorted(maps.Keys(pending))
			pending, due = map[string]bool{}, nil
			changed(files)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
