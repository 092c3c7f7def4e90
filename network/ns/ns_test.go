package ns

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
)

func current(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCreateDoRemove(t *testing.T) {
	path, home := filepath.Join(t.TempDir(), "dir", "a"), current(t)
	var made, entered string
	if err := Create(path, func() error { made = current(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := Do(path, func() error { entered = current(t); return nil }); err != nil {
		t.Fatal(err)
	}
	if made == home || entered != made || !Pinned(path) {
		t.Errorf("made in %s, entered %s, home is %s, pinned %v", made, entered, home, Pinned(path))
	}
	if err := Create(path, func() error { return nil }); !errors.Is(err, os.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if !Pinned(path) {
		t.Error("a failed Create removed another's namespace")
	}
	for range 2 {
		if err := Remove(path); err != nil {
			t.Error(err)
		}
	}
	if err := Do(path, func() error { return nil }); !errdefs.IsNotFound(err) {
		t.Errorf("entered what is gone: %v", err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	path, broken := filepath.Join(t.TempDir(), "a"), errors.New("broken")
	if err := Create(path, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// No thread is ever left in another namespace: neither one that goes on working
// for other goroutines, nor the main thread, which /proc/self shows.
func TestThreadsComeHome(t *testing.T) {
	home := current(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			path := filepath.Join(dir, string(rune('a'+i)))
			if err := Create(path, func() error { return nil }); err != nil {
				t.Error(err)
			}
			for range 10 {
				if err := Do(path, func() error {
					if main, err := os.Readlink("/proc/self/ns/net"); err != nil || main != home {
						t.Errorf("the main thread is in %s, %v", main, err)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
				if now := current(t); now != home {
					t.Errorf("a goroutine runs in %s", now)
				}
			}
			if err := Remove(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	tasks, err := filepath.Glob("/proc/self/task/*/ns/net")
	if err != nil || len(tasks) == 0 {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if now, err := os.Readlink(task); err == nil && now != home { // one that has just ended is no error
			t.Errorf("thread %s is in %s", task, now)
		}
	}
}
