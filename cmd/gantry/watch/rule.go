// Package watch says what the changes of a project's files lead to, and tells
// of those changes as they happen. Source: compose develop specification.
package watch

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gantry/project"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// leftovers are what editors, file managers and git write beside the files that
// people mean.
var leftovers = []string{
	"**/.git", "**/.idea", "**/.DS_Store", "**/*~", "**/.#*", "**/#*#", "**/*.swp", "**/*.swx", "**/*.swo", "**/.*.sw?", "**/4913", "**/*___jb_???___",
}

// Rule is a rule of a service, ready to be asked.
type Rule struct {
	Service string
	project.Watch
	include, ignore *patternmatcher.PatternMatcher // relative to Path; include may be nil
	context         string                         // of the service's build, "" for none
	dockerignore    *patternmatcher.PatternMatcher // relative to context
}

// Rules are those of the named services, of all when none is named.
func Rules(p *project.Project, services []string) ([]Rule, error) {
	var out []Rule
	for i := range p.Services {
		s := &p.Services[i]
		if len(services) > 0 && !slices.Contains(services, s.Name) {
			continue
		}
		for _, w := range s.Watch {
			r, err := newRule(s, w)
			if err != nil {
				return nil, fmt.Errorf("service %q: develop.watch of %q: %w", s.Name, w.Path, err)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func newRule(s *project.Service, w project.Watch) (r Rule, err error) {
	r = Rule{Service: s.Name, Watch: w}
	if r.ignore, err = patternmatcher.New(slices.Concat(leftovers, w.Ignore)); err != nil {
		return r, fmt.Errorf("ignore: %w", err)
	}
	if len(w.Include) > 0 {
		if r.include, err = patternmatcher.New(w.Include); err != nil {
			return r, fmt.Errorf("include: %w", err)
		}
	}
	if s.Build == nil || project.Directory(s.Build.Context) == "" {
		return r, nil
	}
	for _, file := range []string{s.Build.Dockerfile + ".dockerignore", filepath.Join(s.Build.Context, ".dockerignore")} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		patterns, err := ignorefile.ReadAll(f)
		f.Close()
		if err != nil {
			return r, fmt.Errorf("%s: %w", file, err)
		}
		r.context = s.Build.Context
		r.dockerignore, err = patternmatcher.New(patterns)
		return r, err
	}
	return r, nil
}

// Match says whether the rule is about a file of the host, and where that is in
// the container.
func (r *Rule) Match(file string) (target string, ok bool) {
	rel, ok := below(r.Path, file)
	if !ok || r.ignores(file) {
		return "", false
	}
	if r.include != nil {
		if in, err := r.include.MatchesOrParentMatches(rel); err != nil || !in {
			return "", false
		}
	}
	return path.Join(r.Target, filepath.ToSlash(rel)), true
}

// ignores says that a file below the rule's path is left alone.
func (r *Rule) ignores(file string) bool {
	if rel, ok := below(r.Path, file); ok && rel != "." {
		if ignored, err := r.ignore.MatchesOrParentMatches(rel); err == nil && ignored {
			return true
		}
	}
	if r.dockerignore == nil {
		return false
	}
	rel, ok := below(r.context, file)
	if !ok || rel == "." {
		return false
	}
	ignored, err := r.dockerignore.MatchesOrParentMatches(rel)
	return err == nil && ignored
}

// Skips says that nothing below a directory can concern the rule.
func (r *Rule) Skips(dir string) bool {
	if _, ok := below(r.Path, dir); !ok {
		_, above := below(dir, r.Path)
		return !above
	}
	exceptions := r.ignore.Exclusions() || r.dockerignore != nil && r.dockerignore.Exclusions()
	return !exceptions && dir != r.Path && r.ignores(dir)
}

// below is file relative to dir, if it is dir or in it.
func below(dir, file string) (rel string, ok bool) {
	rel, err := filepath.Rel(dir, file)
	return rel, err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// Work is what a number of changes leads to.
type Work struct {
	Rebuild, Restart []string          // services, sorted
	Sync             map[string][]Copy // by service, sorted by target
	Exec             map[string][]project.Hook
}

// Copy brings a file or directory of the host, or its end, into containers.
type Copy struct {
	Rule         *Rule
	Host, Target string
}

// Plan says what changed files lead to. A service that is rebuilt needs nothing
// else.
func Plan(rules []Rule, changed []string) Work {
	w := Work{Sync: map[string][]Copy{}, Exec: map[string][]project.Hook{}}
	add := func(list *[]string, service string) {
		if !slices.Contains(*list, service) {
			*list = append(*list, service)
		}
	}
	for i := range rules {
		r := &rules[i]
		hit := false
		for _, file := range changed {
			target, ok := r.Match(file)
			if _, part := below(file, r.Path); !ok && part && file != r.Path { // something above it is another one now
				file, target, ok = r.Path, r.Target, true
			} else if !ok && r.include != nil && isDir(file) && !r.Skips(file) {
				rel, in := below(r.Path, file)
				target, ok = path.Join(r.Target, filepath.ToSlash(rel)), in && r.Action.Syncs() // what is in it may be included
			}
			if !ok {
				continue
			}
			hit = true
			if c := (Copy{Rule: r, Host: file, Target: target}); r.Action.Syncs() && !slices.Contains(w.Sync[r.Service], c) {
				w.Sync[r.Service] = append(w.Sync[r.Service], c)
			}
		}
		switch {
		case !hit:
		case r.Action == project.WatchRebuild:
			add(&w.Rebuild, r.Service)
		case r.Action == project.WatchRestart, r.Action == project.WatchSyncRestart:
			add(&w.Restart, r.Service)
		case r.Action == project.WatchSyncExec:
			w.Exec[r.Service] = append(w.Exec[r.Service], *r.Exec)
		}
	}
	for _, service := range w.Rebuild {
		delete(w.Sync, service)
		delete(w.Exec, service)
		w.Restart = slices.DeleteFunc(w.Restart, func(s string) bool { return s == service })
	}
	for _, list := range w.Sync {
		slices.SortStableFunc(list, func(a, b Copy) int { return strings.Compare(a.Target, b.Target) })
	}
	slices.Sort(w.Rebuild)
	slices.Sort(w.Restart)
	return w
}

func isDir(file string) bool {
	info, err := os.Lstat(file)
	return err == nil && info.IsDir()
}

// Initial is what is to be in the containers from the beginning.
func Initial(rules []Rule) Work {
	var first []Rule
	for _, r := range rules {
		if r.InitialSync && r.Action.Syncs() {
			r.Action = project.WatchSync
			first = append(first, r)
		}
	}
	w := Work{Sync: map[string][]Copy{}}
	for i := range first {
		r := &first[i]
		w.Sync[r.Service] = append(w.Sync[r.Service], Copy{Rule: r, Host: r.Path, Target: r.Target})
	}
	return w
}
