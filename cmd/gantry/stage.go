package main

import (
	"io"
	"sync"

	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/terminal"
)

// stage shares the terminal between the containers' output and whatever
// display is open at the time.
type stage struct {
	c  *cli
	mu sync.Mutex
	d  progress.Display
}

func (s *stage) open(layers bool) progress.Display {
	s.close()
	d := s.c.display(layers)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d = d
	return d
}

func (s *stage) close() {
	s.mu.Lock()
	d := s.d
	s.d = nil
	s.mu.Unlock()
	if d != nil {
		d.Close()
	}
}

func (s *stage) writer(w io.Writer) io.Writer {
	if !terminal.Is(w) {
		return w
	}
	return stageWriter{s, w}
}

type stageWriter struct {
	s *stage
	w io.Writer
}

func (w stageWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	d := w.s.d
	w.s.mu.Unlock()
	if d == nil {
		return w.w.Write(p)
	}
	return d.Above(w.w).Write(p)
}
