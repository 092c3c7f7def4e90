package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gantry/project"

	"github.com/containerd/errdefs"
)

// projectLock lets one command at a time work on a project.
type projectLock struct {
	token   chan struct{}
	holder  string
	waiters int
	wanted  chan struct{} // closed when somebody waits for the holder
}

// LockProject takes a project for the command that holder describes. waiting is
// called once, with the present holder, when somebody else has it.
func (e *Engine) LockProject(ctx context.Context, name, holder string, waiting func(holder string)) (unlock func(), err error) {
	e.mu.Lock()
	l, ok := e.projects[name]
	if !ok {
		l = &projectLock{token: make(chan struct{}, 1)}
		l.token <- struct{}{}
		e.projects[name] = l
	}
	e.mu.Unlock()
	select {
	case <-l.token:
	default:
		e.mu.Lock()
		other := l.holder
		l.waiters++
		l.tell()
		e.mu.Unlock()
		if waiting != nil {
			waiting(other)
		}
		select {
		case <-l.token:
		case <-ctx.Done():
			err = fmt.Errorf("project %q: waiting for %q to finish: %w", name, other, context.Cause(ctx))
		case <-e.ctx.Done():
			err = fmt.Errorf("project %q: the daemon stops: %w", name, errdefs.ErrUnavailable)
		}
		e.mu.Lock()
		l.waiters--
		e.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	e.mu.Lock()
	l.holder, l.wanted = holder, make(chan struct{})
	l.tell()
	e.mu.Unlock()
	return func() { l.token <- struct{}{} }, nil
}

// tell tells the holder that somebody waits, if so. Engine.mu is held.
func (l *projectLock) tell() {
	if l.waiters == 0 || l.wanted == nil {
		return
	}
	select {
	case <-l.wanted:
	default:
		close(l.wanted)
	}
}

// projectWanted is closed when somebody waits for the project, which the caller
// has locked.
func (e *Engine) projectWanted(name string) <-chan struct{} {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.projects[name].wanted
}

func (e *Engine) projectPath(name string) string {
	return filepath.Join(e.cfg.DataRoot, "projects", name+".json")
}

// checkProjectName keeps names that are part of a path from leading elsewhere.
func checkProjectName(name string) error {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return fmt.Errorf("project name %q: %w", name, errdefs.ErrInvalidArgument)
	}
	return nil
}

// SaveProject keeps what was last asked for of a project, secrets excepted.
func (e *Engine) SaveProject(p *project.Project) error {
	if err := checkProjectName(p.Name); err != nil {
		return err
	}
	return writeJSON(e.projectPath(p.Name), p.Withhold())
}

// LoadProject returns what was last asked for; ErrNotFound when nobody asked.
func (e *Engine) LoadProject(name string) (*project.Project, error) {
	if err := checkProjectName(name); err != nil {
		return nil, err
	}
	var p project.Project
	err := readJSON(e.projectPath(name), &p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("project %q is not known here: %w", name, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// ForgetProject drops what was last asked for.
func (e *Engine) ForgetProject(name string) error {
	if err := checkProjectName(name); err != nil {
		return err
	}
	if err := os.Remove(e.projectPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Projects returns the names of projects that have containers, sorted.
func (e *Engine) Projects(context.Context) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, c := range e.all() {
		if p := c.record().Config.Labels[project.LabelProject]; p != "" && !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, nil
}
