// Package terminal connects the user's terminal, or what stands in for it, to
// a process in a container.
package terminal

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// File returns the terminal behind a stream, if it is one.
func File(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// Is says whether a stream is a terminal.
func Is(stream any) bool {
	_, ok := File(stream)
	return ok
}

// Size is a terminal's size in characters; 80 by 24 when it tells none.
func Size(stream any) (width, height int) {
	if f, ok := File(stream); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

// Raw makes a terminal hand over every key, Ctrl-C included. restore puts it
// back and may be called more than once. For anything but a terminal both do
// nothing.
func Raw(stream io.Reader) (restore func(), err error) {
	f, ok := File(stream)
	if !ok {
		return func() {}, nil
	}
	state, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return func() {}, fmt.Errorf("set terminal %q to raw mode: %w", f.Name(), err)
	}
	return func() { term.Restore(int(f.Fd()), state) }, nil
}
