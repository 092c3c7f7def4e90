// Package scheduler decides what must happen so that a project becomes what it
// should be. Observe takes one snapshot, Build turns project and snapshot into
// a Plan without any effect, Run carries the plan out through a Driver.
package scheduler

import "gantry/project"

// Plan is a DAG of steps. Steps are in a stable topological order: a step needs
// only steps before it.
type Plan struct {
	Project  string
	Steps    []Step
	Warnings []string // such as orphans found
}

// Step is one action with the steps that must have succeeded before it.
type Step struct {
	ID       int // its index in Plan.Steps
	Action   Action
	Needs    []int
	Cause    string // why: "image changed", "depends_on db: service_healthy"
	Destroys string // not empty: what data or running container goes
	// Tolerate lists those of Needs whose failure is only warned about
	// (depends_on with required: false).
	Tolerate []int
	// OnlyIf, when not empty, has the step done only if one of these images
	// turns out to be another one than expected. Else it counts as done, and a
	// container that was not replaced stands for its replacement in later steps.
	OnlyIf []ImageChange
	// Optional says that this step's own failure does not fail the run: only
	// tolerating steps wait for it.
	Optional bool
}

// ImageChange holds when Ref means another image than ID, which was expected.
type ImageChange struct{ Ref, Platform, ID string }

// Status is where a step stands.
type Status string

const (
	StatusStarted  Status = "started"
	StatusProgress Status = "progress"
	StatusDone     Status = "done"
	StatusFailed   Status = "failed"
	StatusSkipped  Status = "skipped" // one of its needs failed or was skipped
	// StatusUnchanged ends a step that there was no need for.
	StatusUnchanged Status = "unchanged"
)

// Event tells of a step, or, with Step -1, of the run as a whole.
type Event struct {
	Step    int    `json:"step"`
	Kind    string `json:"kind,omitempty"`    // "image", "network", "volume", "container"
	Name    string `json:"name,omitempty"`    // the object's name
	Service string `json:"service,omitempty"` // the service it belongs to
	Verb    string `json:"verb,omitempty"`    // "pull", "build", "create", "start", "wait", "stop", "kill", "remove", "rename", "post_start", "pre_stop", "restart", "pause", "unpause"
	Cause   string `json:"cause,omitempty"`
	// Build is the ID of a build, by which BuildKit knows its progress.
	Build string `json:"build,omitempty"`
	// Condition is what a wait is for.
	Condition project.Condition `json:"condition,omitempty"`
	Status    Status            `json:"status"`
	Error     string            `json:"error,omitempty"`
	Optional  bool              `json:"optional,omitempty"` // a failure that is only a warning
	Progress  Progress          `json:"progress,omitzero"`
	Elapsed   int64             `json:"elapsed,omitempty"` // of the step, in nanoseconds
}
