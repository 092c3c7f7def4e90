package project

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong, or worth knowing, about what the user
// wrote. Position and Service are zero when there is none to blame.
type Problem struct {
	Position Position `json:"position,omitzero"`
	Service  string   `json:"service,omitempty"`
	Text     string   `json:"text"`
}

// Warning is a problem that does not stop the project from being used.
type Warning = Problem

// String gives FILE:LINE:COLUMN: service "NAME": TEXT, as far as known.
func (p Problem) String() string {
	var b strings.Builder
	if at := p.Position.String(); at != "" {
		b.WriteString(at + ": ")
	}
	if p.Service != "" {
		fmt.Fprintf(&b, "service %q: ", p.Service)
	}
	b.WriteString(p.Text)
	return b.String()
}

// String gives FILE:LINE:COLUMN, without the parts that are not known.
func (p Position) String() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error lists all problems of one kind at once. It wraps a class of
// github.com/containerd/errdefs.
type Error struct {
	Problems []Problem
	Hint     string // what to do about all of them, may be empty
	Class    error
}

func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	if e.Hint != "" {
		lines = append(lines, e.Hint)
	}
	return strings.Join(lines, "\n")
}

func (e *Error) Unwrap() error { return e.Class }

// newError sorts problems by position and drops repetitions; it returns nil
// when there are none.
func newError(class error, hint string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Problems: sortProblems(problems), Hint: hint, Class: class}
}

// sortProblems orders by position, then text, without repetitions.
func sortProblems(problems []Problem) []Problem {
	sorted := slices.Clone(problems)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		if c := comparePositions(a.Position, b.Position); c != 0 {
			return c
		}
		return strings.Compare(a.Service+"\x00"+a.Text, b.Service+"\x00"+b.Text)
	})
	return slices.Compact(sorted)
}

func comparePositions(a, b Position) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return a.Column - b.Column
}
