// Package client holds the requests and responses of the daemon's project
// routes and a Go client for them. The Engine API has a client of its own,
// github.com/moby/moby/client.
package client

import (
	"strings"
	"syscall"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
)

// Routes, with {name} for the project's name and {verb} for one of Verb's
// values. All are relative to the daemon's root, without an API version.
const (
	RouteProjects = "/gantry/projects"               // GET, ?all=1 for stopped ones too: []Summary
	RouteProject  = "/gantry/projects/{name}"        // GET: project.Project as it was last asked for
	RouteVerb     = "/gantry/projects/{name}/{verb}" // POST Request: newline-delimited scheduler.Event
	RoutePlan     = "/gantry/projects/{name}/plan"   // POST ?verb=VERB Request: PlanResponse
)

// Verb is what a project route does.
type Verb string

// Each verb takes a Request with the options named here.
const (
	VerbUp      Verb = "up"      // UpOptions
	VerbCreate  Verb = "create"  // UpOptions; as up, but nothing is started
	VerbDown    Verb = "down"    // DownOptions
	VerbStart   Verb = "start"   // StartOptions
	VerbStop    Verb = "stop"    // StopOptions
	VerbRestart Verb = "restart" // RestartOptions
	VerbKill    Verb = "kill"    // KillOptions
	VerbPause   Verb = "pause"   // NoOptions
	VerbUnpause Verb = "unpause" // NoOptions
	VerbRemove  Verb = "rm"      // RemoveOptions
	VerbPull    Verb = "pull"    // PullOptions
	VerbBuild   Verb = "build"   // BuildOptions
	VerbRun     Verb = "run"     // RunOptions
)

// Request is the body of a verb. Bad input is answered with a plain 4xx and
// {"message": …} before any event, with nothing changed. Otherwise the answer
// is 200 and a stream of scheduler.Event, one JSON object per line, whose last
// one has Step -1 and Status done or failed; its Error says all of it.
type Request[O any] struct {
	// Project is the desired state; nil means what the daemon has stored, else
	// what the labels of the project's containers tell.
	Project *project.Project `json:"project,omitempty"`
	// Services the verb is about; none means all.
	Services []string `json:"services,omitempty"`
	// Holder says who asks, for those who wait for the project: "gantry up (pid 7)".
	Holder string `json:"holder,omitempty"`
	// Parallel bounds the steps that run at once; 0 leaves it to the daemon.
	Parallel int `json:"parallel,omitempty"`
	// Credentials are the user's for the registries of the project's images, by
	// name: docker.io, reg.example:5000. They serve this request alone.
	Credentials map[string]registry.AuthConfig `json:"credentials,omitempty"`
	Options     O                              `json:"options"`
}

// NoOptions are the options of a verb that has none.
type NoOptions struct{}

// UpOptions are Docker Compose's flags of up and create. Durations are in
// nanoseconds.
type UpOptions struct {
	NoDeps              bool           `json:"noDeps,omitempty"`
	ForceRecreate       bool           `json:"forceRecreate,omitempty"`
	NoRecreate          bool           `json:"noRecreate,omitempty"`
	AlwaysRecreateDeps  bool           `json:"alwaysRecreateDeps,omitempty"`
	RemoveOrphans       bool           `json:"removeOrphans,omitempty"`
	RenewAnonVolumes    bool           `json:"renewAnonVolumes,omitempty"`
	Scale               map[string]int `json:"scale,omitempty"` // service to replicas
	Pull                string         `json:"pull,omitempty"`  // "", policy, always, missing, never
	Wait                bool           `json:"wait,omitempty"`  // until all are running or healthy
	WaitTimeout         time.Duration  `json:"waitTimeout,omitempty"`
	Timeout             *time.Duration `json:"timeout,omitempty"`             // for stopping what is replaced; nil: the container's own
	IgnoreOrphanWarning bool           `json:"ignoreOrphanWarning,omitempty"` // COMPOSE_IGNORE_ORPHANS
	Builds
}

// DownOptions are Docker Compose's flags of down.
type DownOptions struct {
	Volumes       bool           `json:"volumes,omitempty"`      // the project's named volumes and anonymous ones
	RemoveImages  string         `json:"removeImages,omitempty"` // "", local, all
	RemoveOrphans bool           `json:"removeOrphans,omitempty"`
	Timeout       *time.Duration `json:"timeout,omitempty"`
}

// StartOptions are Docker Compose's flags of start.
type StartOptions struct {
	Wait        bool          `json:"wait,omitempty"`
	WaitTimeout time.Duration `json:"waitTimeout,omitempty"`
}

// StopOptions are Docker Compose's flags of stop.
type StopOptions struct {
	Timeout *time.Duration `json:"timeout,omitempty"`
}

// RestartOptions are Docker Compose's flags of restart.
type RestartOptions struct {
	Timeout *time.Duration `json:"timeout,omitempty"`
	NoDeps  bool           `json:"noDeps,omitempty"` // leave dependants with restart: true alone
}

// KillOptions are Docker Compose's flags of kill.
type KillOptions struct {
	Signal        string `json:"signal,omitempty"` // "" is SIGKILL
	RemoveOrphans bool   `json:"removeOrphans,omitempty"`
}

// RemoveOptions are Docker Compose's flags of rm. Running containers are left
// alone unless Stop.
type RemoveOptions struct {
	Stop    bool `json:"stop,omitempty"`
	Volumes bool `json:"volumes,omitempty"` // anonymous ones
}

// PullOptions are Docker Compose's flags of pull.
type PullOptions struct {
	IncludeDeps     bool   `json:"includeDeps,omitempty"`
	IgnoreFailures  bool   `json:"ignoreFailures,omitempty"`
	IgnoreBuildable bool   `json:"ignoreBuildable,omitempty"` // leave out services that can be built
	Policy          string `json:"policy,omitempty"`          // "" is always; missing
}

// Builds say when images are built, and which sessions of BuildKit, opened over
// POST /session, have the contexts, secrets and credentials of which service.
// They may be opened when the first event tells of a build.
type Builds struct {
	Sessions map[string]string `json:"sessions,omitempty"` // service to session ID
	Build    bool              `json:"build,omitempty"`    // also images that are here
	NoBuild  bool              `json:"noBuild,omitempty"`  // not even images that are missing
}

// BuildOptions are Docker Compose's flags of build; what changes a single build
// is part of the project that is sent.
type BuildOptions struct {
	Sessions map[string]string `json:"sessions,omitempty"` // as in Builds
	WithDeps bool              `json:"withDeps,omitempty"`
}

// RunOptions describe a one-off container. The verb brings the dependencies up
// and creates the container without starting it, so that its caller attaches
// first and starts it through the Engine API.
type RunOptions struct {
	Service string `json:"service"`
	// Name of the container; the caller always gives one.
	Name string `json:"name"`
	// Config and Host are the service's own with the flags of run laid over
	// them (command, environment, volumes, …); nil is the service's own.
	Config        *container.Config     `json:"config,omitempty"`
	Host          *container.HostConfig `json:"host,omitempty"`
	ServicePorts  bool                  `json:"servicePorts,omitempty"` // publish the service's ports too
	Publish       network.PortMap       `json:"publish,omitempty"`
	UseAliases    bool                  `json:"useAliases,omitempty"` // answer to the service's names
	AutoRemove    bool                  `json:"autoRemove,omitempty"`
	NoDeps        bool                  `json:"noDeps,omitempty"`
	RemoveOrphans bool                  `json:"removeOrphans,omitempty"`
	Pull          string                `json:"pull,omitempty"` // as in UpOptions
	Builds
}

// PlanResponse answers RoutePlan.
type PlanResponse struct {
	Text     string   `json:"text"` // one line per step, empty when there is nothing to do
	Warnings []string `json:"warnings,omitempty"`
}

// Summary is one project in the answer to RouteProjects.
type Summary struct {
	Name        string         `json:"name"`
	States      map[string]int `json:"states"` // "running", "exited", … to the number of containers
	ConfigFiles []string       `json:"configFiles,omitempty"`
}

// Kinds of an event with Step -1 and Status progress; Progress.Text says what
// there is to say.
const (
	KindPlan    = "plan"    // what follows: Progress.Total steps
	KindWarning = "warning" // such as orphans found
	KindWaiting = "waiting" // somebody else holds the project: Progress.Text names the holder
)

// PlanEvent announces a plan of n steps.
func PlanEvent(n int) scheduler.Event {
	return scheduler.Event{Step: -1, Kind: KindPlan, Status: scheduler.StatusProgress, Progress: scheduler.Progress{Total: int64(n)}}
}

// WarningEvent carries a warning to the user.
func WarningEvent(text string) scheduler.Event {
	return scheduler.Event{Step: -1, Kind: KindWarning, Status: scheduler.StatusProgress, Progress: scheduler.Progress{Text: text}}
}

// WaitingEvent says that the project is held by somebody else.
func WaitingEvent(holder string) scheduler.Event {
	return scheduler.Event{Step: -1, Kind: KindWaiting, Status: scheduler.StatusProgress, Progress: scheduler.Progress{Text: holder}}
}

// FinalEvent ends a stream.
func FinalEvent(err error) scheduler.Event {
	e := scheduler.Event{Step: -1, Status: scheduler.StatusDone}
	if err != nil {
		e.Status, e.Error = scheduler.StatusFailed, err.Error()
	}
	return e
}

// WithAdvice adds to an error of the daemon what to do about it, where the
// daemon's disk is full or a build's context cannot be sent.
func WithAdvice(text string) string {
	for cause, advice := range map[string]string{
		syscall.ENOSPC.Error():                `"docker system df" tells what takes the disk, "docker system prune" frees what nobody uses`,
		"string field contains invalid UTF-8": `the name of a file in the context is not valid UTF-8: rename the file, or exclude it in .dockerignore`,
	} {
		if strings.Contains(text, cause) && !strings.Contains(text, advice) {
			return text + "; " + advice
		}
	}
	return text
}
