// Package progress shows how a command on a project gets on: as a live tree on
// a terminal, as lines or JSON elsewhere. What is shown is a pure function of
// the scheduler's events and the time.
package progress

import (
	"strings"
	"time"

	"gantry/api/client"
	"gantry/cmd/gantry/terminal"
	"gantry/project"
	"gantry/scheduler"
)

// state is where an object stands.
type state int

const (
	working state = iota
	done
	failed
	skipped
)

// object is one line of the tree: a container, network, volume or image that
// at least one step is about.
type object struct {
	title   string // "Container demo-db-1"
	text    string // "Started"
	state   state
	open    int // steps that have begun and not ended
	began   time.Time
	took    time.Duration // from its first step's begin to its last step's end
	details string        // an error's first line, or why
	said    string        // the last line of plain output
	parts   []*part       // an image's layers, in the order in which they came
}

// part is a piece of a long step, such as a layer of an image.
type part struct {
	id, text       string
	current, total int64
}

// Board is what has happened so far.
type Board struct {
	objects []*object // in the order in which they came
	index   map[string]*object
	notes   []string // warnings, and whom we wait for
	ended   int      // steps
	total   int      // steps of the plan, 0 when unknown
	layers  bool     // parts of pulls are kept
	causes  bool     // lines say why
}

// NewBoard returns an empty board.
func NewBoard(o Options) *Board {
	return &Board{index: map[string]*object{}, layers: o.Layers, causes: o.Causes}
}

// Apply takes an event in, at a moment. It returns the object's line as plain
// output shows it, "" when there is nothing new to say.
func (b *Board) Apply(e scheduler.Event, now time.Time) string {
	e.Progress.Text, e.Error = terminal.Line(e.Progress.Text), terminal.Text(e.Error)
	if e.Step < 0 {
		return b.general(e)
	}
	if e.Status == scheduler.StatusUnchanged {
		b.ended++
		return ""
	}
	title := Title(e.Kind, e.Name)
	o, ok := b.index[title]
	if !ok {
		o = &object{title: title, began: now}
		b.index[title], b.objects = o, append(b.objects, o)
	}
	if e.Status == scheduler.StatusProgress {
		if e.Progress.ID == e.Name {
			e.Progress.ID = "" // it is about the whole
		}
		if e.Verb == "build" { // which of its steps runs
			o.details = e.Progress.Text
			return o.say(o.details)
		}
		return b.progress(o, e.Progress)
	}
	if e.Status == scheduler.StatusStarted {
		o.open++
	} else {
		b.ended++
		o.open = max(0, o.open-1)
		o.took = now.Sub(o.began)
	}
	if o.state == failed { // nothing that comes later hides it
		return ""
	}
	o.text = Text(e)
	if b.causes && e.Cause != "" {
		o.details = "(" + e.Cause + ")"
	}
	switch e.Status {
	case scheduler.StatusStarted:
		o.state = working
	case scheduler.StatusDone:
		if o.parts = nil; e.Verb == "build" {
			o.details = ""
		}
		if o.state = done; o.open > 0 {
			o.state = working
		}
	case scheduler.StatusSkipped:
		o.state = skipped
	case scheduler.StatusFailed:
		if e.Optional {
			o.state, o.parts, o.details = skipped, nil, firstLine(e.Error)
			return o.say(o.details)
		}
		o.state, o.parts, o.details = failed, nil, firstLine(e.Error)
		return o.say(o.details)
	}
	return o.say(o.details)
}

// say is the object's line, "" when that was its last one: a pull tells of its
// own end, and so does its step.
func (o *object) say(details string) string {
	l := line(o.title, o.text, details)
	if l == o.said {
		return ""
	}
	o.said = l
	return l
}

func (b *Board) general(e scheduler.Event) string {
	var note string
	switch e.Kind {
	case client.KindPlan:
		b.total = int(e.Progress.Total)
		return ""
	case client.KindWarning:
		note = "warning: " + e.Progress.Text
	case client.KindWaiting:
		note = "waiting for " + e.Progress.Text + " to finish with this project"
	default:
		return ""
	}
	b.notes = append(b.notes, note)
	return note
}

func (b *Board) progress(o *object, p scheduler.Progress) string {
	if p.ID == "" {
		if o.text == p.Text || p.Text == "" || o.state != working {
			return ""
		}
		o.text = p.Text
		return o.say("")
	}
	if !b.layers {
		return ""
	}
	for _, q := range o.parts {
		if q.id == p.ID {
			changed := q.text != p.Text
			*q = part{p.ID, p.Text, p.Current, p.Total}
			if changed {
				return line(o.title, ShortID(p.ID), p.Text)
			}
			return ""
		}
	}
	o.parts = append(o.parts, &part{p.ID, p.Text, p.Current, p.Total})
	return line(o.title, ShortID(p.ID), p.Text)
}

// Working says whether the board changes with the time alone.
func (b *Board) Working() bool {
	for _, o := range b.objects {
		if o.state == working {
			return true
		}
	}
	return false
}

// Title names an object as the tree does.
func Title(kind, name string) string {
	if kind == "" {
		return name
	}
	return strings.ToUpper(kind[:1]) + kind[1:] + " " + name
}

// words are a verb in progress, and done.
var words = map[string][2]string{
	"pull":    {"Pulling", "Pulled"},
	"build":   {"Building", "Built"},
	"push":    {"Pushing", "Pushed"},
	"create":  {"Creating", "Created"},
	"start":   {"Starting", "Started"},
	"wait":    {"Waiting", "Ready"},
	"stop":    {"Stopping", "Stopped"},
	"kill":    {"Killing", "Killed"},
	"remove":  {"Removing", "Removed"},
	"rename":  {"Recreating", "Recreated"},
	"restart": {"Restarting", "Restarted"},
	"pause":   {"Pausing", "Paused"},
	"unpause": {"Unpausing", "Unpaused"},
	"load":    {"Loading", "Loaded"},

	"post_start": {"Running post_start", "Started"},
	"pre_stop":   {"Running pre_stop", "Ran pre_stop"},
}

// Text says in one word where an event's object stands.
func Text(e scheduler.Event) string {
	w, ok := words[e.Verb]
	if !ok {
		w = [2]string{e.Verb, e.Verb}
	}
	switch e.Status {
	case scheduler.StatusFailed:
		if e.Optional {
			return "Warning"
		}
		return "Error"
	case scheduler.StatusSkipped:
		return "Skipped"
	case scheduler.StatusDone:
		if text, ok := reached[e.Condition]; ok && e.Verb == "wait" {
			return text
		}
		return w[1]
	}
	return w[0]
}

// reached are the conditions as a display words them.
var reached = map[project.Condition]string{
	project.Started:   "Running",
	project.Healthy:   "Healthy",
	project.Completed: "Exited",
}

// ShortID cuts a digest to the twelve digits that people compare.
func ShortID(id string) string {
	if _, hex, ok := strings.Cut(id, "sha256:"); ok {
		id = hex
	}
	return id[:min(12, len(id))]
}

func line(title, text, details string) string {
	s := " " + title
	if text != "" {
		s += "  " + text
	}
	if details != "" {
		s += "  " + details
	}
	return s
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(Brief(s), "\n")
	return strings.TrimSuffix(s, ": failed precondition") // a class of error that tells people nothing
}
