package build

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	solverrors "github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
)

// stepName is how BuildKit calls the steps of a Dockerfile: [2/3] RUN …, or
// [STAGE 2/3] RUN ….
var stepName = regexp.MustCompile(`^\[(?:\S+ )?(\d+)/(\d+)\] (?s:(.*))$`)

// ClassicLog turns a build's progress into the lines that the classic builder
// printed, which programs look for. Steps that run at the same time are shown
// one after the other.
type ClassicLog struct {
	write func(string)
	steps map[digest.Digest]*classicStep
	queue []*classicStep // those that are not shown to their end, the first is being shown
}

type classicStep struct {
	title  string
	output []string
	shown  bool // its title was
	cached bool
	ended  bool
}

// NewClassicLog makes one that hands its lines, and pieces of output, to write.
func NewClassicLog(write func(string)) *ClassicLog {
	return &ClassicLog{write: write, steps: map[digest.Digest]*classicStep{}}
}

// Add takes what has happened.
func (l *ClassicLog) Add(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		m := stepName.FindStringSubmatch(v.Name)
		if m == nil || v.Started == nil && !v.Cached {
			continue
		}
		step := l.steps[v.Digest]
		if step == nil {
			step = &classicStep{title: fmt.Sprintf("Step %s/%s : %s\n", m[1], m[2], m[3])}
			l.steps[v.Digest] = step
			l.queue = append(l.queue, step)
		}
		step.cached = step.cached || v.Cached
		step.ended = step.ended || v.Completed != nil
	}
	for _, log := range s.Logs {
		if step := l.steps[log.Vertex]; step != nil {
			step.output = append(step.output, string(log.Data))
		}
	}
	for _, w := range s.Warnings {
		l.write("[Warning] " + string(w.Short) + "\n")
	}
	l.show()
}

// Close shows what is left of steps that did not end.
func (l *ClassicLog) Close() {
	for _, step := range l.queue {
		step.ended = true
	}
	l.show()
}

func (l *ClassicLog) show() {
	for len(l.queue) > 0 {
		step := l.queue[0]
		if !step.shown {
			step.shown = true
			l.write(step.title)
		}
		for _, text := range step.output {
			l.write(text)
		}
		step.output = nil
		if !step.ended {
			return
		}
		if step.cached {
			l.write(" ---> Using cache\n")
		}
		l.queue = slices.Delete(l.queue, 0, 1)
	}
}

// failedProcess is how BuildKit says that a command failed.
var failedProcess = regexp.MustCompile(`^process (".*") did not complete successfully: `)

// noDockerfile is how BuildKit says that there is none.
var noDockerfile = regexp.MustCompile(`^failed to read dockerfile: open (.*): no such file or directory$`)

// ClassicError is why a build failed, in the classic builder's words.
type ClassicError struct {
	Code int // exit code of the command that failed, 0 if it was something else
	text string
	err  error
}

func (e *ClassicError) Error() string { return e.text }
func (e *ClassicError) Unwrap() error { return e.err }

// classicError names the instruction and its line.
func classicError(err error) error {
	if err == nil {
		return nil
	}
	e := &ClassicError{err: err, text: strings.TrimPrefix(err.Error(), "failed to solve: ")}
	if errdefs.IsUnknown(err) || errdefs.Resolve(err) == errdefs.ErrUnknown {
		e.err = fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	if m := noDockerfile.FindStringSubmatch(e.text); m != nil {
		e.text = "Cannot locate specified Dockerfile: " + m[1]
	}
	var exit *gateway.ExitError
	if errors.As(err, &exit) && exit.ExitCode != gateway.UnknownExitStatus {
		e.Code = int(exit.ExitCode)
		if m := failedProcess.FindStringSubmatch(e.text); m != nil {
			if command, err := strconv.Unquote(m[1]); err == nil {
				e.text = fmt.Sprintf("The command '%s' returned a non-zero code: %d", command, e.Code)
			}
		}
	}
	sources := solverrors.Sources(err)
	if len(sources) == 0 {
		return e
	}
	if s := sources[len(sources)-1]; s.Info != nil && len(s.Ranges) > 0 {
		line := int(s.Ranges[0].Start.Line)
		place := fmt.Sprintf("%s:%d", s.Info.Filename, line)
		if lines := strings.Split(string(s.Info.Data), "\n"); line >= 1 && line <= len(lines) {
			place += ": " + strings.TrimSpace(lines[line-1])
		}
		e.text += " (" + place + ")"
	}
	return e
}
