package progress

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// screen draws frames over one another at the bottom of a terminal.
type screen struct {
	out    io.Writer
	widths []int // of the last frame's lines
	hidden bool  // the cursor
}

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseLine  = "\x1b[K" // to its end
	eraseBelow = "\x1b[J"
)

// draw replaces the last frame by lines, in one write. What is in above goes
// over the frame and stays. width is the terminal's, which may have changed
// since the last frame: a terminal wraps what no longer fits.
func (s *screen) draw(above []byte, lines []string, width int) {
	var b bytes.Buffer
	if !s.hidden {
		b.WriteString(hideCursor)
		s.hidden = true
	}
	s.rewind(&b, width)
	for _, l := range bytes.SplitAfter(above, []byte("\n")) {
		if text, ended := bytes.CutSuffix(l, []byte("\n")); ended {
			fmt.Fprintf(&b, "%s%s\r\n", text, eraseLine)
		} else if len(l) > 0 {
			fmt.Fprintf(&b, "%s%s\r\n", l, eraseLine)
		}
	}
	s.widths = s.widths[:0]
	for _, l := range lines {
		fmt.Fprintf(&b, "%s%s\r\n", l, eraseLine)
		s.widths = append(s.widths, runewidth.StringWidth(stripSGR(l)))
	}
	b.WriteString(eraseBelow)
	s.out.Write(b.Bytes())
}

// rewind moves the cursor to the last frame's first line.
func (s *screen) rewind(b *bytes.Buffer, width int) {
	rows := 0
	for _, w := range s.widths {
		rows++
		if width > 0 && w > width {
			rows += (w - 1) / width
		}
	}
	if rows > 0 {
		fmt.Fprintf(b, "\x1b[%dA", rows)
	}
	b.WriteByte('\r')
}

// keep leaves the last frame where it is and gives the cursor back.
func (s *screen) keep() {
	s.widths = nil
	if s.hidden {
		io.WriteString(s.out, showCursor)
		s.hidden = false
	}
}

// stripSGR removes the colours that this package writes.
func stripSGR(s string) string {
	for {
		from := strings.Index(s, "\x1b[")
		if from < 0 {
			return s
		}
		to := strings.IndexByte(s[from:], 'm')
		if to < 0 {
			return s
		}
		s = s[:from] + s[from+to+1:]
	}
}
