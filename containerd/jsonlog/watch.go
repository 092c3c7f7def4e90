package jsonlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// watches is the process's one inotify instance for followed logs. The kernel
// allows few instances for a user (128), but many watches in each, so readers
// must share it. It stays open once it was needed.
var watches watchSet

type watchSet struct {
	mu      sync.Mutex
	watcher *fsnotify.Watcher
	dirs    map[string]map[*watch]struct{}
}

// watch tells one reader that something in a directory has changed.
type watch struct {
	dir     string
	changed chan struct{} // holds one token at most
	gone    atomic.Bool   // the directory was removed
}

func (s *watchSet) add(dir string) (*watch, error) {
	dir = filepath.Clean(dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return nil, fmt.Errorf("watch log directory %q: %w", dir, err)
		}
		s.watcher, s.dirs = w, map[string]map[*watch]struct{}{}
		go s.run(w)
	}
	// Adding it again is free, and right if the directory was made anew.
	if err := s.watcher.Add(dir); err != nil {
		return nil, fmt.Errorf("watch log directory %q: %w", dir, err)
	}
	if s.dirs[dir] == nil {
		s.dirs[dir] = map[*watch]struct{}{}
	}
	w := &watch{dir: dir, changed: make(chan struct{}, 1)}
	s.dirs[dir][w] = struct{}{}
	return w, nil
}

func (s *watchSet) remove(w *watch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.dirs[w.dir], w)
	if len(s.dirs[w.dir]) > 0 {
		return nil
	}
	delete(s.dirs, w.dir)
	if err := s.watcher.Remove(w.dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
		return fmt.Errorf("watch log directory %q: %w", w.dir, err)
	}
	return nil
}

func (s *watchSet) run(w *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			s.wake(e)
		case _, ok := <-w.Errors: // events were lost: everybody looks
			if !ok {
				return
			}
			s.wakeAll()
		}
	}
}

func (s *watchSet) wake(e fsnotify.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.dirs[filepath.Dir(e.Name)] {
		w.wake()
	}
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		for w := range s.dirs[e.Name] {
			w.gone.Store(true)
			w.wake()
		}
	}
}

func (s *watchSet) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range s.dirs {
		for w := range dir {
			w.wake()
		}
	}
}

func (w *watch) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
