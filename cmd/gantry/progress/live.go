package progress

import (
	"io"
	"sync"
	"time"

	"gantry/scheduler"
)

// pendingMax bounds the text that waits for the next frame.
const pendingMax = 256 << 10

// live draws the tree again whenever something has happened, at most every
// spinEvery, and while something is at work.
type live struct {
	o     Options
	mu    sync.Mutex
	board *Board
	s     screen
	above []byte        // text that waits to be written over the tree
	wake  chan struct{} // something has happened
	quit  chan struct{}
	ended chan struct{}
	close bool
}

func newLive(o Options) *live {
	l := &live{o: o, board: NewBoard(o), s: screen{out: o.Out},
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{})}
	go l.loop()
	return l
}

func (l *live) loop() {
	defer close(l.ended)
	tick := time.NewTimer(spinEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-l.wake:
		}
		// Whatever comes within the interval goes into one frame.
		for again := true; again; {
			l.mu.Lock()
			l.draw(false)
			again = l.board.Working()
			l.mu.Unlock()
			tick.Reset(spinEvery)
			select {
			case <-l.quit:
				return
			case <-tick.C:
			}
		}
	}
}

// draw writes the pending text and a frame.
func (l *live) draw(final bool) {
	width, height := l.o.Size()
	lines := l.board.Lines(l.o.Now(), View{Width: width, Height: height, Color: l.o.Color, Final: final})
	if len(lines) == 0 && len(l.above) == 0 && len(l.s.widths) == 0 {
		return
	}
	l.s.draw(l.above, lines, width)
	l.above = nil
}

func (l *live) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *live) Event(e scheduler.Event) {
	l.mu.Lock()
	l.board.Apply(e, l.o.Now())
	l.mu.Unlock()
	l.signal()
}

func (l *live) Close() {
	l.mu.Lock()
	if l.close {
		l.mu.Unlock()
		return
	}
	l.close = true
	l.mu.Unlock()
	close(l.quit)
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draw(true)
	l.s.keep()
}

func (l *live) Above(w io.Writer) io.Writer { return aboveWriter{l, w} }

type aboveWriter struct {
	l *live
	w io.Writer
}

func (a aboveWriter) Write(p []byte) (int, error) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if a.l.close {
		return a.w.Write(p)
	}
	a.l.above = append(a.l.above, p...)
	if len(a.l.above) > pendingMax {
		a.l.draw(false)
	} else {
		a.l.signal()
	}
	return len(p), nil
}
