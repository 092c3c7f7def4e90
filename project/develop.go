package project

import (
	"os"
	"path"
	"strconv"

	"github.com/compose-spec/compose-go/v2/types"
)

// WatchAction is what a change of a watched file leads to. Source: compose
// develop specification.
type WatchAction string

const (
	WatchRebuild     WatchAction = "rebuild"
	WatchRestart     WatchAction = "restart"
	WatchSync        WatchAction = "sync"
	WatchSyncRestart WatchAction = "sync+restart"
	WatchSyncExec    WatchAction = "sync+exec"
)

// Syncs says that changed files are copied into the containers.
func (a WatchAction) Syncs() bool {
	return a == WatchSync || a == WatchSyncRestart || a == WatchSyncExec
}

// Watch is a rule of develop.watch.
type Watch struct {
	Path            string // absolute, a file or a directory
	Action          WatchAction
	Target          string   // in the container, for actions that sync
	Include, Ignore []string // patterns of .dockerignore, relative to Path
	InitialSync     bool
	Exec            *Hook // of sync+exec
}

func (t *translator) watches(s types.ServiceConfig) []Watch {
	if s.Develop == nil {
		return nil
	}
	var out []Watch
	for i, w := range s.Develop.Watch {
		at := []string{"develop", "watch", strconv.Itoa(i)}
		rule := Watch{
			Path: absolute(t.model.WorkingDir, w.Path), Action: WatchAction(w.Action), Target: w.Target,
			Include: w.Include, Ignore: w.Ignore, InitialSync: w.InitialSync,
		}
		if _, err := os.Stat(rule.Path); err != nil {
			t.problem(s, at, "cannot watch %q: %s", rule.Path, reason(err))
		}
		switch {
		case rule.Action.Syncs() && !path.IsAbs(rule.Target):
			t.problem(s, at, "the action %s needs a target, an absolute path in the container", rule.Action)
		case rule.Action == WatchRebuild && s.Build == nil:
			t.problem(s, at, "the action rebuild needs the key build")
		case rule.Action == WatchSyncExec:
			hook := t.hook(w.Exec)
			if rule.Exec = &hook; len(hook.Command) == 0 {
				t.problem(s, at, "the action sync+exec needs exec with a command")
			}
		}
		out = append(out, rule)
	}
	return out
}
