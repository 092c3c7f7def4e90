package logs

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/mattn/go-runewidth"
)

// stampFormat keeps all nine digits, so that lines align.
const stampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// colours tell containers apart; they are given out in turn.
var colours = []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

// Style says how lines are printed.
type Style struct {
	NoPrefix   bool
	Color      bool
	Timestamps bool
}

// Printer writes whole lines, each in one write. It is safe for concurrent
// use.
type Printer struct {
	mu       sync.Mutex
	out, err io.Writer
	style    Style
	width    int
	colour   map[string]string
	buf      bytes.Buffer
}

// NewPrinter returns a printer that writes lines to out and err as containers
// have written them.
func NewPrinter(out, err io.Writer, style Style) *Printer {
	return &Printer{out: out, err: err, style: style, colour: map[string]string{}}
}

// Announce makes room for a container's name, so that the lines align from the
// first one.
func (p *Printer) Announce(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announce(name)
}

func (p *Printer) announce(name string) {
	if _, ok := p.colour[name]; ok {
		return
	}
	p.colour[name] = colours[len(p.colour)%len(colours)]
	p.width = max(p.width, runewidth.StringWidth(name))
}

// Print writes one line.
func (p *Printer) Print(l Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announce(l.Name)
	p.buf.Reset()
	if !p.style.NoPrefix {
		p.paint(l.Name, runewidth.FillRight(l.Name, p.width+1)+" | ")
	}
	if p.style.Timestamps && !l.Time.IsZero() {
		p.buf.WriteString(l.Time.UTC().Format(stampFormat) + " ")
	}
	p.buf.Write(l.Text)
	p.buf.WriteByte('\n')
	to := p.out
	if l.Stderr {
		to = p.err
	}
	to.Write(p.buf.Bytes())
}

// Note writes what Gantry has to say about a container: "web-1 exited with
// code 1".
func (p *Printer) Note(name, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announce(name)
	p.buf.Reset()
	p.paint(name, name+" "+text)
	p.buf.WriteByte('\n')
	p.out.Write(p.buf.Bytes())
}

func (p *Printer) paint(name, text string) {
	if p.style.Color {
		text = fmt.Sprintf("\x1b[%sm%s\x1b[0m", p.colour[name], text)
	}
	p.buf.WriteString(text)
}
