package scheduler

import (
	"time"

	"gantry/project"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Action is one thing that a Driver can do. The set is sealed and every action
// is data only: all names and IDs are decided by Build.
type Action interface{ action() }

type (
	// PullImage makes an image present. Position says where it was asked for.
	PullImage struct {
		Ref      string
		Platform string
		Services []string
		Force    bool // ask the registry although an image of that name is present
		// Optional: a failing pull is a warning when an image of that name is present
		Optional bool
	}
	// BuildImage builds an image; what had its names loses them. Contexts of
	// the kind service: are resolved to docker-image://; Own are their names.
	BuildImage struct {
		ID       string // of the build, by which its progress is found
		Ref      string
		Services []string
		Session  string // who holds the contexts, secrets and credentials
		Build    project.Build
		Own      []string
		Platform string // on which the services run, "" for what suits the host
		ToRun    bool   // for that platform alone, whatever others the build names
	}
	CreateNetwork struct {
		Name   string
		Create network.CreateRequest
	}
	// RemoveNetwork is refused while a container that runs is attached. One that
	// does not run loses its place on the network, as with the Docker Engine.
	RemoveNetwork struct{ Name, ID string }
	CreateVolume  struct {
		Name       string
		Driver     string
		DriverOpts map[string]string
		Labels     map[string]string
	}
	RemoveVolume struct{ Name string }

	// CreateContainer prepares a container completely, without starting it.
	// Two things are known only when it runs and are added by the driver: the
	// image's ID (label project.LabelImage) and the short ID as a network alias.
	CreateContainer struct {
		ID, Name string
		Service  string
		Number   int
		Image    string // reference to resolve when the step runs
		Platform string
		Config   container.Config
		Host     container.HostConfig
		Networks []project.Attachment
		Files    []project.File // secrets and configs
		// Replaces is the ID of the container that this one takes the place of,
		// "" for none. Both exist for a while: what only one can hold (a host
		// port, a fixed address) is taken when the container starts.
		Replaces string
		// Volumes maps a mount's target to the anonymous volume to take over. A
		// target that neither the mounts nor the image declare is left out.
		Volumes map[string]string
	}
	RenameContainer struct{ ID, Service, From, To string }
	// StartContainer starts a container; Owes is how many post_start hooks the
	// plan runs then. 0 leaves it owing what it did.
	StartContainer struct {
		ID, Name, Service string
		Owes              int
	}
	// StopContainer sends the container's stop signal, then SIGKILL after
	// Timeout (nil: the container's own, else 10 s).
	StopContainer struct {
		ID, Name, Service string
		Timeout           *time.Duration
	}
	KillContainer struct {
		ID, Name, Service string
		Signal            string
	}
	RestartContainer struct {
		ID, Name, Service string
		Timeout           *time.Duration
		Owes              int // as with StartContainer
	}
	// RunHook runs a service's command in a container. Before a stop, one that
	// does not run any more is no error.
	RunHook struct {
		ID, Name, Service string
		When              string // project.PostStart or project.PreStop
		Hook              project.Hook
		Owes              int // after a start: how many hooks are left when this one is done
	}
	PauseContainer   struct{ ID, Name, Service string }
	UnpauseContainer struct{ ID, Name, Service string }
	// RemoveContainer deletes a container; it must not run unless Force.
	RemoveContainer struct {
		ID, Name, Service string
		Volumes           bool // its anonymous volumes too
		Force             bool
	}
	RemoveImage struct{ Ref string }

	// WaitContainer blocks until the container reaches Condition. It fails as
	// soon as that can no longer happen: it became unhealthy, it ended (with a
	// code other than 0 for Completed), or it restarts in a loop. The error
	// carries exit code, last probe output and last log lines.
	WaitContainer struct {
		ID, Name, Service string
		// Condition Started means here: running, not crash looping and, where
		// the container has a health check, healthy (up --wait).
		Condition project.Condition
		Timeout   time.Duration // 0: none of its own
	}
)

func (PullImage) action()        {}
func (BuildImage) action()       {}
func (CreateNetwork) action()    {}
func (RemoveNetwork) action()    {}
func (CreateVolume) action()     {}
func (RemoveVolume) action()     {}
func (CreateContainer) action()  {}
func (RenameContainer) action()  {}
func (StartContainer) action()   {}
func (StopContainer) action()    {}
func (KillContainer) action()    {}
func (RestartContainer) action() {}
func (RunHook) action()          {}
func (PauseContainer) action()   {}
func (UnpauseContainer) action() {}
func (RemoveContainer) action()  {}
func (RemoveImage) action()      {}
func (WaitContainer) action()    {}
