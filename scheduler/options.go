package scheduler

import (
	"time"

	"gantry/project"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Recreate says when a container that exists is replaced.
type Recreate string

const (
	RecreateChanged Recreate = ""       // when a row of the table of reasons says so
	RecreateAlways  Recreate = "always" // up --force-recreate, --always-recreate-deps
	RecreateNever   Recreate = "never"  // up --no-recreate
)

// Builds says when images are built and who has what they are built from.
type Builds struct {
	// Sessions are those of BuildKit that will hold the contexts and secrets of
	// builds, by service.
	Sessions map[string]string
	Always   bool // --build
	Never    bool // --no-build
}

// Options of Build: what `up` and `create` were asked for.
type Options struct {
	// Seed makes the new containers' IDs. It must differ from call to call, so
	// that an ID never comes back.
	Seed string
	// Now is the moment that pull policies with an age are measured against.
	Now           time.Time
	Services      []string // with their dependencies; none: all
	NoDeps        bool     // without their dependencies
	Recreate      Recreate // of the services asked for
	RecreateDeps  Recreate // of their dependencies
	RemoveOrphans bool
	Scale         map[string]int     // service to number of containers, instead of the service's own
	Pull          project.PullPolicy // "" is each service's own
	RenewVolumes  bool               // -V: anonymous volumes are not carried over
	Timeout       *time.Duration     // of stopping; nil is the container's own
	Builds        Builds
	NoStart       bool          // create, up --no-start
	Wait          bool          // until all run and are healthy
	WaitTimeout   time.Duration // 0: none
}

// OneOffOptions of BuildOneOff: what `run` was asked for.
type OneOffOptions struct {
	Seed    string
	Now     time.Time
	Service string
	Name    string // "" is PROJECT-SERVICE-run-<12 hex digits>
	NoDeps  bool
	Pull    project.PullPolicy
	Builds  Builds
	// Config and Host stand in for the service's own, as edited by the caller
	// for -e, -v, --entrypoint and the like; nil is the service's own.
	Config        *container.Config
	Host          *container.HostConfig
	ServicePorts  bool            // publish the service's ports too
	Publish       network.PortMap // -p
	UseAliases    bool            // answer to the service's names
	AutoRemove    bool            // --rm
	RemoveOrphans bool
}

// DownOptions of BuildDown.
type DownOptions struct {
	Services      []string     // none: all, with networks
	Volumes       bool         // -v: the project's named volumes and its containers' anonymous ones
	Images        ImageRemoval // --rmi
	RemoveOrphans bool
	Timeout       *time.Duration
}

// ImageRemoval says which images go with a project.
type ImageRemoval string

const (
	RemoveLocal ImageRemoval = "local" // those that were built and have no name of the user's
	RemoveAll   ImageRemoval = "all"
)

// ImageOptions of BuildImages.
type ImageOptions struct {
	Seed     string
	Sessions map[string]string // as in Builds
	Services []string          // with those whose images they begin with; none: all
	WithDeps bool              // those that they depend on, too
}

// StartOptions of BuildStart.
type StartOptions struct {
	Services    []string // with their dependencies; none: all
	Wait        bool
	WaitTimeout time.Duration
}

// StopOptions of BuildStop.
type StopOptions struct {
	Services []string
	Timeout  *time.Duration
}

// RestartOptions of BuildRestart.
type RestartOptions struct {
	Services []string // with those that depend on them with restart: true
	NoDeps   bool
	Timeout  *time.Duration
}

// KillOptions of BuildKill.
type KillOptions struct {
	Services      []string
	Signal        string // "" is SIGKILL
	RemoveOrphans bool
}

// PauseOptions of BuildPause and BuildUnpause.
type PauseOptions struct{ Services []string }

// RemoveOptions of BuildRemove.
type RemoveOptions struct {
	Services []string
	Stop     bool // -s: stop those that run first
	Volumes  bool // -v: their anonymous volumes too
	Timeout  *time.Duration
}

// PullOptions of BuildPull.
type PullOptions struct {
	Services        []string
	IncludeDeps     bool
	Policy          project.PullPolicy // "" is always
	IgnoreFailures  bool
	IgnoreBuildable bool // leave out services that can be built
}
