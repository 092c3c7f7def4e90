package jsonlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A follower gets every line once, in order, while the writer rotates under it.
// The writer runs ahead by less than the log keeps, as the contract demands.
func TestFollowOverRotation(t *testing.T) {
	for _, maxFile := range []int{2, 3, 10} {
		t.Run(fmt.Sprint(maxFile), func(t *testing.T) {
			ctx := bounded(t)
			path := filepath.Join(t.TempDir(), "log")
			r := open(t, path, Options{Tail: -1, Follow: true})
			const n = 30000
			w := create(t, path, Limits{MaxSize: 8 << 10, MaxFile: maxFile})
			// Each line takes about 70 bytes of the log: this is less than one file.
			ahead := make(chan struct{}, 90)
			failed := make(chan error, 1)
			go func() {
				defer r.Finish()
				for i := range n {
					select {
					case ahead <- struct{}{}:
					case <-ctx.Done():
						return
					}
					if err := w.Write(Stdout, time.Now(), fmt.Appendf(nil, "line %d\n", i)); err != nil {
						failed <- err
						return
					}
				}
			}()
			for i := range n {
				e, err := r.Next(ctx)
				if err != nil {
					t.Fatalf("line %d: %v", i, err)
				}
				if want := fmt.Sprintf("line %d\n", i); string(e.Line) != want {
					t.Fatalf("got %q, want %q", e.Line, want)
				}
				<-ahead
			}
			if e, err := r.Next(ctx); err != io.EOF {
				t.Fatalf("after the end: %+v, %v", e, err)
			}
			select {
			case err := <-failed:
				t.Fatal(err)
			default:
			}
		})
	}
}

// What a follower has not reached yet when its file is rotated several times
// is still read, as long as it was not deleted.
func TestFollowerThatLags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{MaxSize: 1000, MaxFile: 50})
	write(t, w, Stdout, "line 0\n")
	r := open(t, path, Options{Tail: -1, Follow: true})
	for _, l := range numbered(1, 400) {
		write(t, w, Stdout, l)
	}
	r.Finish()
	equal(t, lines(t, r), numbered(0, 400))
}

// With files deleted under it, a follower goes on with the oldest one left.
func TestFollowerThatWasLapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{MaxSize: 1000, MaxFile: 1})
	write(t, w, Stdout, "line 0\n")
	r := open(t, path, Options{Tail: -1, Follow: true})
	all := numbered(1, 400)
	for _, l := range all {
		write(t, w, Stdout, l)
	}
	r.Finish()
	got := lines(t, r)
	if got[0] != "line 0\n" {
		t.Fatalf("the open file was lost: %q", got[0])
	}
	left := lines(t, open(t, path, Options{Tail: -1}))
	equal(t, got[len(got)-len(left):], left)
}

func TestFollowFromTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w := create(t, path, Limits{})
	write(t, w, Stdout, "old\nlast\n")
	r := open(t, path, Options{Tail: 1, Follow: true})
	read := func(want string) {
		t.Helper()
		e, err := r.Next(bounded(t))
		if err != nil || string(e.Line) != want {
			t.Fatalf("got %q, %v; want %q", e.Line, err, want)
		}
	}
	read("last\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	if _, err := r.Next(ctx); err != reason {
		t.Fatalf("a cancelled wait gave %v", err)
	}
	write(t, w, Stderr, "new\n")
	read("new\n")
	if err := os.Truncate(path, 0); err != nil { // as logrotate's copytruncate does
		t.Fatal(err)
	}
	if _, err := r.Next(ctx); err != reason {
		t.Fatalf("an emptied log gave %v", err)
	}
	write(t, w, Stdout, "anew\n")
	read("anew\n")
}

func TestFollowStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	r := open(t, path, Options{Tail: -1, Follow: true})
	got := make(chan Entry, 1)
	ctx := bounded(t)
	go func() {
		e, _ := r.Next(ctx)
		got <- e
	}()
	w := create(t, path, Limits{})
	write(t, w, Stdout, "first\n")
	if e := <-got; string(e.Line) != "first\n" {
		t.Fatalf("got %q", e.Line)
	}
}

func TestFollowEnds(t *testing.T) {
	for name, end := range map[string]func(r *Reader, dir string){
		"finish":            func(r *Reader, _ string) { r.Finish(); r.Finish() },
		"directory removed": func(_ *Reader, dir string) { os.RemoveAll(dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "c")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			w := create(t, filepath.Join(dir, "log"), Limits{})
			write(t, w, Stdout, "a\n")
			r := open(t, filepath.Join(dir, "log"), Options{Tail: -1, Follow: true})
			if e, err := r.Next(bounded(t)); err != nil || string(e.Line) != "a\n" {
				t.Fatalf("got %q, %v", e.Line, err)
			}
			ended := make(chan error, 1)
			ctx := bounded(t)
			go func() {
				_, err := r.Next(ctx)
				ended <- err
			}()
			w.Close()
			end(r, dir)
			if err := <-ended; err != io.EOF {
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("until", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log")
		create(t, path, Limits{})
		r := open(t, path, Options{Tail: -1, Follow: true, Until: time.Now().Add(10 * time.Millisecond)})
		if _, err := r.Next(bounded(t)); err != io.EOF {
			t.Fatalf("got %v", err)
		}
	})
}

// More followers than the kernel allows inotify instances for a user.
func TestManyFollowers(t *testing.T) {
	ctx := bounded(t)
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 300 {
		sub := filepath.Join(dir, fmt.Sprint(i/2)) // two readers for each log
		os.MkdirAll(sub, 0o700)
		r := open(t, filepath.Join(sub, "log"), Options{Tail: -1, Follow: true})
		all.Go(func() {
			if e, err := r.Next(ctx); err != nil || !strings.HasPrefix(string(e.Line), "hello") {
				t.Errorf("reader %d: %q, %v", i, e.Line, err)
			}
		})
	}
	for i := range 150 {
		w := create(t, filepath.Join(dir, fmt.Sprint(i), "log"), Limits{})
		write(t, w, Stdout, "hello\n")
	}
	all.Wait()
}
