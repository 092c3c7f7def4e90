package scheduler

import (
	"fmt"

	"gantry/project"

	"github.com/hashicorp/go-multierror"
)

// problem is one reason why there is no plan. It wraps an errdefs class, or the
// error that it came from.
type problem struct {
	text  string
	cause error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.cause }

// problems gathers all that is wrong, so that a person sees it at once.
type problems struct{ all *multierror.Error }

// refuse notes a problem with the value at position pos, if somebody wrote it.
func (p *problems) refuse(pos project.Position, cause error, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if pos.File != "" {
		text = fmt.Sprintf("%s:%d:%d: %s", pos.File, pos.Line, pos.Column, text)
	}
	p.all = multierror.Append(p.all, &problem{text, cause})
}

func (p *problems) err() error { return p.all.ErrorOrNil() }

// position is where a service's value stands, or else the service.
func position(svc *project.Service, paths ...string) project.Position {
	for _, path := range paths {
		if pos, ok := svc.Positions[path]; ok {
			return pos
		}
	}
	return svc.Source
}
