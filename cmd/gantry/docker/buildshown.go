package docker

import (
	"gantry/cmd/gantry/terminal"

	buildkit "github.com/moby/buildkit/client"
)

// ForPeople passes on what a build tells of itself, until it is closed: names
// and errors, which come from files that somebody else wrote, without what a
// terminal would obey. What steps print stays as it is.
func ForPeople(in <-chan *buildkit.SolveStatus) chan *buildkit.SolveStatus {
	out := make(chan *buildkit.SolveStatus)
	go func() {
		defer close(out)
		for s := range in {
			out <- shownTo(s)
		}
	}()
	return out
}

func shownTo(s *buildkit.SolveStatus) *buildkit.SolveStatus {
	for _, v := range s.Vertexes {
		v.Name, v.Error = terminal.Line(v.Name), terminal.Text(v.Error)
		if g := v.ProgressGroup; g != nil {
			g.Name = terminal.Line(g.Name)
		}
	}
	for _, v := range s.Statuses { // both name what is transferred
		v.ID, v.Name = terminal.Line(v.ID), terminal.Line(v.Name)
	}
	for _, w := range s.Warnings {
		w.Short = []byte(terminal.Line(string(w.Short)))
	}
	return s
}
