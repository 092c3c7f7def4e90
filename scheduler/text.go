package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"gantry/project"
)

// Subject says in words what an action does to what: the vocabulary of events,
// plans and errors.
type Subject struct {
	Verb    string // "pull", "create", "start", "wait", …
	Kind    string // "image", "network", "volume", "container"
	Name    string // the object's name; a replacement has the name it will end with
	Service string
}

// Describe names an action's verb and object.
func Describe(a Action) Subject {
	of := func(verb, name, service string) Subject { return Subject{verb, "container", name, service} }
	switch a := a.(type) {
	case PullImage:
		return Subject{"pull", "image", a.Ref, strings.Join(a.Services, ",")}
	case BuildImage:
		return Subject{"build", "image", a.Ref, strings.Join(a.Services, ",")}
	case RemoveImage:
		return Subject{"remove", "image", a.Ref, ""}
	case CreateNetwork:
		return Subject{"create", "network", a.Name, ""}
	case RemoveNetwork:
		return Subject{"remove", "network", a.Name, ""}
	case CreateVolume:
		return Subject{"create", "volume", a.Name, ""}
	case RemoveVolume:
		return Subject{"remove", "volume", a.Name, ""}
	case CreateContainer:
		return of("create", strings.TrimPrefix(a.Name, replacementPrefix(a.Replaces)), a.Service)
	case RenameContainer:
		return of("rename", a.To, a.Service)
	case StartContainer:
		return of("start", a.Name, a.Service)
	case StopContainer:
		return of("stop", a.Name, a.Service)
	case KillContainer:
		return of("kill", a.Name, a.Service)
	case RestartContainer:
		return of("restart", a.Name, a.Service)
	case RunHook:
		return of(a.When, a.Name, a.Service)
	case PauseContainer:
		return of("pause", a.Name, a.Service)
	case UnpauseContainer:
		return of("unpause", a.Name, a.Service)
	case RemoveContainer:
		return of("remove", a.Name, a.Service)
	case WaitContainer:
		return of("wait", a.Name, a.Service)
	}
	return Subject{Verb: fmt.Sprintf("%T", a)}
}

// conditionWords are the conditions as a person says them.
var conditionWords = map[project.Condition]string{
	project.Started:   "running",
	project.Healthy:   "healthy",
	project.Completed: "completed",
}

// what names the step's work, as its error does.
func (s *Step) what() string {
	d := Describe(s.Action)
	switch a := s.Action.(type) {
	case CreateContainer:
		return "create container " + a.Name
	case RenameContainer:
		return "rename container " + a.From + " to " + a.To
	case RunHook:
		return fmt.Sprintf("%s container %s %q", a.When, a.Name, strings.Join(a.Hook.Command, " "))
	case WaitContainer:
		return "wait container " + a.Name + " " + conditionWords[a.Condition]
	}
	return d.Verb + " " + d.Kind + " " + d.Name
}

// String is the plan as a person reads it: warnings, then one line per step,
//
//	3 start container web-1 <- 1,2  # depends_on db: service_healthy
//
// with the steps that it needs (a "?" marks one whose failure is only warned
// about), the cause, and what it destroys.
func (p *Plan) String() string {
	var b strings.Builder
	for _, w := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		fmt.Fprintf(&b, "%d %s", s.ID, s.what())
		for j, need := range s.Needs {
			sep := ","
			if j == 0 {
				sep = " <- "
			}
			mark := ""
			if slices.Contains(s.Tolerate, need) {
				mark = "?"
			}
			fmt.Fprintf(&b, "%s%d%s", sep, need, mark)
		}
		for j, c := range s.OnlyIf {
			word := "or"
			if j == 0 {
				word = "if"
			}
			fmt.Fprintf(&b, " %s image %s is not %s", word, c.Ref, short(strings.TrimPrefix(c.ID, "sha256:")))
		}
		if s.Cause != "" {
			fmt.Fprintf(&b, "  # %s", s.Cause)
		}
		if s.Destroys != "" {
			fmt.Fprintf(&b, "  ! destroys %s", s.Destroys)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// event is a step's event without its status.
func (s *Step) event(status Status) Event {
	d := Describe(s.Action)
	e := Event{
		Step: s.ID, Kind: d.Kind, Name: d.Name, Service: d.Service, Verb: d.Verb,
		Cause: s.Cause, Status: status,
	}
	switch a := s.Action.(type) {
	case WaitContainer:
		e.Condition = a.Condition
	case BuildImage:
		e.Build = a.ID
	}
	return e
}
