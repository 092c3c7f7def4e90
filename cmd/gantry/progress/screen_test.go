package progress

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// tty emulates what a screen uses of one: lines that wrap, cursor up,
// erase, hidden cursor. Its history is unbounded.
type tty struct {
	mu            sync.Mutex
	width, height int
	rows          [][]rune
	x, y          int
	noCursor      bool
}

func newTerminal(width, height int) *tty {
	return &tty{width: width, height: height, rows: [][]rune{nil}}
}

func (t *tty) size() (int, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.width, t.height
}

func (t *tty) hidden() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noCursor
}

func (t *tty) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for i, r := range t.rows {
		if i == len(t.rows)-1 && len(r) == 0 {
			break
		}
		b.WriteString(strings.TrimRight(string(r), " ") + "\n")
	}
	return b.String()
}

func (t *tty) down() {
	t.y++
	for t.y >= len(t.rows) {
		t.rows = append(t.rows, nil)
	}
}

func (t *tty) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := []rune(string(p))
	for i := 0; i < len(in); i++ {
		switch r := in[i]; {
		case r == '\r':
			t.x = 0
		case r == '\n':
			t.down()
		case r == 0x1b && i+1 < len(in) && in[i+1] == '[':
			end := i + 2
			for end < len(in) && (in[end] < '@' || in[end] > '~') {
				end++
			}
			t.control(string(in[i+2:end]), in[end])
			i = end
		default:
			if t.x == t.width {
				t.x = 0
				t.down()
			}
			for len(t.rows[t.y]) <= t.x {
				t.rows[t.y] = append(t.rows[t.y], ' ')
			}
			t.rows[t.y][t.x] = r
			t.x++
		}
	}
	return len(p), nil
}

func (t *tty) control(args string, verb rune) {
	n, err := strconv.Atoi(args)
	if err != nil {
		n = 1
	}
	switch verb {
	case 'A':
		if t.y -= n; t.y < 0 {
			panic("cursor above the first line")
		}
	case 'K':
		t.rows[t.y] = t.rows[t.y][:min(t.x, len(t.rows[t.y]))]
	case 'J':
		t.rows[t.y] = t.rows[t.y][:min(t.x, len(t.rows[t.y]))]
		t.rows = t.rows[:t.y+1]
	case 'l', 'h':
		t.noCursor = verb == 'l'
	case 'm':
	default:
		panic(fmt.Sprintf("control sequence %q %c", args, verb))
	}
}

// resize wraps all lines anew, as terminals do that reflow.
func (t *tty) resize(width int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var rows [][]rune
	y := 0
	for i, r := range t.rows {
		if i == t.y {
			y = len(rows)
		}
		for len(r) > width {
			rows = append(rows, r[:width])
			r = r[width:]
		}
		rows = append(rows, r)
	}
	t.width, t.rows, t.y = width, rows, y
}

// TestScreenShowsTheLastFrame: whatever was drawn before, and however wide the
// tty was then, the screen ends with the last frame, and what was written
// above stands over it, all of it, once.
func TestScreenShowsTheLastFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(10, 40).Draw(t, "width")
		term := newTerminal(width, 24)
		s := screen{out: term}
		var above, last []string
		for range rapid.IntRange(1, 8).Draw(t, "frames") {
			// wider frames are only wrapped by a tty that got narrower
			if next := rapid.IntRange(10, width).Draw(t, "next"); next < width {
				width = next
				term.resize(width)
				above = nil // wrapped: compared no more
			}
			var text string
			for range rapid.IntRange(0, 3).Draw(t, "lines above") {
				l := rapid.StringMatching(`[a-z]{1,9}`).Draw(t, "above")
				text += l + "\n"
				above = append(above, l)
			}
			last = rapid.SliceOfN(rapid.StringMatching(fmt.Sprintf(`[A-Z]{1,%d}`, width-1)), 0, 5).Draw(t, "frame")
			s.draw([]byte(text), last, width)
		}
		s.keep()
		want := strings.Join(append(above, last...), "\n")
		got := strings.TrimSpace(term.text())
		if !strings.HasSuffix(got, want) {
			t.Fatalf("the screen is\n%s\nwant at its end\n%s", got, want)
		}
		for _, row := range strings.Split(got, "\n") {
			if strings.ToUpper(row) == row && row != "" && !contains(last, row) {
				t.Fatalf("row %q is left of an earlier frame:\n%s", row, got)
			}
		}
		if term.noCursor {
			t.Fatal("the cursor is still hidden")
		}
	})
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func TestStripSGR(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "\x1b[32mgreen\x1b[0m and more": "green and more", "cut \x1b[3": "cut \x1b[3",
	} {
		if got := stripSGR(in); got != want {
			t.Errorf("stripSGR(%q) = %q, want %q", in, got, want)
		}
	}
}
