package project

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/containerd/errdefs"
)

// Service returns the active service of that name.
func (p *Project) Service(name string) (*Service, bool) {
	i := sort.Search(len(p.Services), func(i int) bool { return p.Services[i].Name >= name })
	if i < len(p.Services) && p.Services[i].Name == name {
		return &p.Services[i], true
	}
	return nil, false
}

// ServiceNames lists the active services, sorted.
func (p *Project) ServiceNames() []string {
	names := make([]string, len(p.Services))
	for i := range p.Services {
		names[i] = p.Services[i].Name
	}
	return names
}

// Order lists the active services, dependencies first and else by name. It
// fails with errdefs.ErrInvalidArgument when they depend on each other in a
// circle.
func (p *Project) Order() ([]string, error) {
	w := &walk{project: p, done: map[string]bool{}}
	for i := range p.Services {
		w.visit(&p.Services[i], nil)
	}
	if w.cycle != nil {
		return nil, w.cycleError()
	}
	return w.order, nil
}

// Closure lists the named services and all that they depend on, dependencies
// first. It fails with errdefs.ErrNotFound for a name that is no active
// service.
func (p *Project) Closure(names ...string) ([]string, error) {
	w := &walk{project: p, done: map[string]bool{}}
	for _, name := range names {
		s, ok := p.Service(name)
		if !ok {
			return nil, fmt.Errorf("no such service in project %q: %q: %w", p.Name, name, errdefs.ErrNotFound)
		}
		w.visit(s, nil)
	}
	if w.cycle != nil {
		return nil, w.cycleError()
	}
	return w.order, nil
}

// Dependents lists the services that depend directly on a service, sorted.
func (p *Project) Dependents(name string) []string {
	var out []string
	for i := range p.Services {
		if slices.ContainsFunc(p.Services[i].DependsOn, func(d Dependency) bool { return d.Service == name }) {
			out = append(out, p.Services[i].Name)
		}
	}
	return out
}

// walk is a depth-first walk along depends_on.
type walk struct {
	project *Project
	done    map[string]bool
	order   []string
	cycle   []string // the first one found, its first service repeated at the end
}

func (w *walk) visit(s *Service, path []string) {
	if i := slices.Index(path, s.Name); i >= 0 {
		if w.cycle == nil {
			w.cycle = append(slices.Clone(path[i:]), s.Name)
		}
		return
	}
	if w.done[s.Name] {
		return
	}
	path = append(path, s.Name)
	for _, d := range s.DependsOn {
		if dependency, ok := w.project.Service(d.Service); ok {
			w.visit(dependency, path)
		}
	}
	w.done[s.Name] = true
	w.order = append(w.order, s.Name)
}

func (w *walk) cycleError() error {
	s, _ := w.project.Service(w.cycle[0])
	return newError(errdefs.ErrInvalidArgument, "", []Problem{{
		Position: s.position("depends_on."+w.cycle[1], "depends_on"), Service: s.Name,
		Text: "dependency cycle: " + strings.Join(w.cycle, " -> "),
	}})
}

// position returns the first of the paths that was written, else the
// service's own place.
func (s *Service) position(paths ...string) Position {
	for _, path := range paths {
		if at, ok := s.Positions[path]; ok {
			return at
		}
	}
	return s.Source
}
