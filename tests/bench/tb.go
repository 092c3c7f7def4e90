package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// tb lets the tests' harness serve a program: what fails ends the run, and
// what was registered with Cleanup is done whatever happened.
type tb struct {
	testing.TB // the methods that the harness does not call
	ctx        context.Context
	verbose    bool
	cleanups   []func()
	err        error
}

var _ testing.TB = (*tb)(nil)

// guard runs f with a tb and returns what failed. When ctx ends, f ends at its
// next step.
func guard(ctx context.Context, verbose bool, f func(*tb)) error {
	t := &tb{ctx: ctx, verbose: verbose}
	done := make(chan struct{})
	go func() { // Fatal leaves by Goexit, which must not be the main goroutine's
		defer close(done)
		defer t.cleanup()
		f(t)
	}()
	<-done
	return t.err
}

func (t *tb) cleanup() {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		f := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		func() {
			done := make(chan struct{})
			go func() { defer close(done); f() }() // a failing cleanup does not stop the others
			<-done
		}()
	}
}

// step says what comes next, and ends the run when it was interrupted.
func (t *tb) step(format string, args ...any) {
	if t.ctx.Err() != nil {
		t.Fatal(errors.New("interrupted"))
	}
	if t.verbose {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func (t *tb) Helper()                   {}
func (t *tb) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *tb) Failed() bool              { return t.err != nil }
func (t *tb) Errorf(f string, a ...any) { t.err = errors.Join(t.err, shorten(fmt.Sprintf(f, a...))) }
func (t *tb) Fatal(a ...any)            { t.Fatalf("%s", fmt.Sprint(a...)) }

// TempDir is a directory that is removed at the end.
func (t *tb) TempDir() string {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Logf is told the daemon's whole log; that of a failing command is enough.
func (t *tb) Logf(string, ...any) {}

func (t *tb) Fatalf(f string, a ...any) {
	t.Errorf(f, a...)
	runtime.Goexit()
}

// check ends the run when err is not nil.
func (t *tb) check(err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// shorten keeps the end of an error that quotes a whole log or the progress of
// a large project: there it says why.
func shorten(text string) error {
	const most = 3000
	if cut := len(text) - most; cut > 0 {
		text = "…" + text[cut:]
	}
	return errors.New(text)
}
