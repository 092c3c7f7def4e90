package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"gantry/scheduler"

	"github.com/containerd/errdefs"
)

// Mode is how progress is shown.
type Mode string

const (
	Auto  Mode = "auto" // TTY on a terminal, else Plain
	TTY   Mode = "tty"
	Plain Mode = "plain"
	JSON  Mode = "json"
	Quiet Mode = "quiet"
)

// ParseMode checks what a user has given.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, TTY, Plain, JSON, Quiet:
		return m, nil
	case "":
		return Auto, nil
	}
	return "", errdefs.ErrInvalidArgument.WithMessage(fmt.Sprintf("unsupported --progress value %q: use auto, tty, plain, json or quiet", s))
}

// Options of a display.
type Options struct {
	Mode   Mode // not Auto
	Out    io.Writer
	Color  bool
	Layers bool                       // show the parts of pulls
	Causes bool                       // show why each step is taken
	Size   func() (width, height int) // of the terminal, for TTY
	Now    func() time.Time
}

// Display shows events. Event and Above may be called from several goroutines.
type Display interface {
	Event(scheduler.Event)
	// Above returns a writer to w, which is on the display's terminal: whole
	// lines appear over what the display draws there.
	Above(w io.Writer) io.Writer
	// Close shows the end of it and gives the terminal back.
	Close()
}

// New returns the display for a mode.
func New(o Options) Display {
	if o.Now == nil {
		o.Now = time.Now
	}
	switch o.Mode {
	case TTY:
		return newLive(o)
	case JSON:
		return &jsonLines{out: o.Out}
	case Quiet:
		return quiet{}
	}
	return &plain{out: o.Out, board: NewBoard(o), now: o.Now}
}

// plain prints one line per event.
type plain struct {
	mu    sync.Mutex
	out   io.Writer
	board *Board
	now   func() time.Time
}

func (p *plain) Event(e scheduler.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.board.Apply(e, p.now()); l != "" {
		fmt.Fprintln(p.out, l)
	}
}

func (*plain) Above(w io.Writer) io.Writer { return w }
func (*plain) Close()                      {}

type quiet struct{}

func (quiet) Event(scheduler.Event)       {}
func (quiet) Above(w io.Writer) io.Writer { return w }
func (quiet) Close()                      {}

// message is one line of JSON output, with the keys of Docker Compose's.
type message struct {
	ID       string `json:"id,omitempty"`
	ParentID string `json:"parent_id,omitempty"`
	Text     string `json:"text,omitempty"`
	Details  string `json:"details,omitempty"`
	Status   string `json:"status,omitempty"` // Working, Done, Warning, Error
	Current  int64  `json:"current,omitempty"`
	Total    int64  `json:"total,omitempty"`
	Percent  int    `json:"percent,omitempty"`
}

type jsonLines struct {
	mu  sync.Mutex
	out io.Writer
}

func (j *jsonLines) Event(e scheduler.Event) {
	m, ok := messageOf(e)
	if !ok {
		return
	}
	b, err := json.Marshal(m)
	if err != nil {
		return // strings and numbers only
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.out.Write(append(b, '\n'))
}

func (*jsonLines) Above(w io.Writer) io.Writer { return w }
func (*jsonLines) Close()                      {}

func messageOf(e scheduler.Event) (message, bool) {
	if e.Step < 0 {
		note := NewBoard(Options{}).Apply(e, time.Time{})
		return message{Text: note, Status: "Warning"}, note != ""
	}
	m := message{ID: Title(e.Kind, e.Name), Text: Text(e), Status: "Working", Details: e.Error}
	switch e.Status {
	case scheduler.StatusDone:
		m.Status = "Done"
	case scheduler.StatusFailed:
		if m.Status = "Error"; e.Optional {
			m.Status = "Warning"
		}
	case scheduler.StatusSkipped:
		m.Status = "Warning"
	case scheduler.StatusProgress:
		p := e.Progress
		if p.ID != "" && p.ID != e.Name {
			m.ParentID, m.ID = m.ID, ShortID(p.ID)
		}
		m.Text, m.Current, m.Total = p.Text, p.Current, p.Total
		if p.Total > 0 {
			m.Percent = int(min(p.Current, p.Total) * 100 / p.Total)
		}
	}
	return m, true
}
