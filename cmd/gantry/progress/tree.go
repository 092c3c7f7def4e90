package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/mattn/go-runewidth"
)

// View is what a tree is drawn for.
type View struct {
	Width, Height int  // of the terminal; 0 is unbounded
	Color         bool // SGR sequences
	Final         bool // the command has ended: everything is shown, nothing spins
}

const (
	green  = "32"
	red    = "31"
	yellow = "33"
	blue   = "34"
	dim    = "2"
)

var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

const (
	spinEvery = 100 * time.Millisecond
	barWidth  = 20
)

// Lines draws the board as it is at a moment. No line is wider than the view.
func (b *Board) Lines(now time.Time, v View) []string {
	head := b.head(v)
	shown, hidden := b.objects, 0
	room := 0 // for layers
	if !v.Final && v.Height > 0 {
		free := max(1, v.Height-1-len(head)) // the cursor's line stays free
		if len(shown) > free {
			shown = fitting(shown, max(1, free-1))
			hidden = len(b.objects) - len(shown)
		}
		room = max(0, free-len(shown))
	} else if !v.Final {
		room = 1 << 20
	}
	titles, texts := 0, 0
	for _, o := range shown {
		titles, texts = max(titles, runewidth.StringWidth(o.title)), max(texts, runewidth.StringWidth(o.text))
	}
	lines := head
	for _, o := range shown {
		lines = append(lines, o.line(now, v, titles, texts))
		for _, p := range o.parts {
			if room == 0 {
				break
			}
			room--
			lines = append(lines, p.line(v))
		}
	}
	if hidden > 0 {
		lines = append(lines, v.cut([]cell{{"   … " + fmt.Sprint(hidden) + " more", dim}}))
	}
	return lines
}

func (b *Board) head(v View) []string {
	var lines []string
	for _, n := range b.notes {
		lines = append(lines, v.cut([]cell{{n, yellow}}))
	}
	if len(b.objects) == 0 {
		return lines
	}
	count := fmt.Sprint(b.ended)
	if b.total > 0 {
		count = fmt.Sprintf("%d/%d", b.ended, b.total)
	}
	return append(lines, v.cut([]cell{{"[+] Running " + count, ""}}))
}

// fitting picks n objects: failures and those at work first, then the latest.
func fitting(objects []*object, n int) []*object {
	keep := map[*object]bool{}
	take := func(want func(*object) bool) {
		for i := len(objects) - 1; i >= 0 && len(keep) < n; i-- {
			if want(objects[i]) {
				keep[objects[i]] = true
			}
		}
	}
	take(func(o *object) bool { return o.state == failed })
	take(func(o *object) bool { return o.state == working })
	take(func(*object) bool { return true })
	out := make([]*object, 0, n)
	for _, o := range objects {
		if keep[o] {
			out = append(out, o)
		}
	}
	return out
}

func (o *object) line(now time.Time, v View, titles, texts int) string {
	mark, colour, took := "✔", green, o.took
	switch o.state {
	case working:
		took = now.Sub(o.began)
		mark, colour = string(spinner[int(took/spinEvery)%len(spinner)]), blue
		if v.Final {
			mark = "-"
		}
	case failed:
		mark, colour = "✘", red
	case skipped:
		mark, colour = "-", yellow
	}
	cells := []cell{
		{" ", ""}, {mark, colour}, {" " + runewidth.FillRight(o.title, titles) + "  ", ""},
		{runewidth.FillRight(o.text, texts), colour}, {fmt.Sprintf("  %6s", seconds(took)), dim},
	}
	if o.details != "" {
		cells = append(cells, cell{"  " + o.details, ""})
	}
	return v.cut(cells)
}

func (p *part) line(v View) string {
	cells := []cell{{"   " + runewidth.FillRight(ShortID(p.id), 12) + "  " + runewidth.FillRight(p.text, 13), ""}}
	if p.total > 0 && p.current > 0 {
		full := int(min(p.current, p.total) * barWidth / p.total)
		cells = append(cells,
			cell{"  " + strings.Repeat("█", full) + strings.Repeat("░", barWidth-full), green},
			cell{fmt.Sprintf("  %s/%s", units.HumanSize(float64(p.current)), units.HumanSize(float64(p.total))), dim})
	}
	return v.cut(cells)
}

// seconds prints a duration with a tenth of a second.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// cell is a text in one colour, "" for none.
type cell struct{ text, colour string }

// cut joins cells to a line that leaves the view's last column free, so that
// no terminal wraps it.
func (v View) cut(cells []cell) string {
	left := v.Width - 1
	var b strings.Builder
	for _, c := range cells {
		text := c.text
		if v.Width > 0 {
			if left <= 0 {
				break
			}
			text = runewidth.Truncate(text, left, "…")
			left -= runewidth.StringWidth(text)
		}
		if v.Color && c.colour != "" {
			text = "\x1b[" + c.colour + "m" + text + "\x1b[0m"
		}
		b.WriteString(text)
	}
	return strings.TrimRight(b.String(), " ")
}
