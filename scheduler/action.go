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
	CreateNetwork struct {
		Name   string
		Create network.CreateRequest
	}
	RemoveNetwork struct{ Name, ID string }
	CreateVolume  struct {
		Name       string
		Driver     string
		DriverOpts map[string]string
		Labels     map[string]string
	}
	RemoveVolume struct{ Name string }

	// CreateContainer prepares a container completely, without starting it.
	CreateContainer struct {
		ID, Name string
		Service  string
		Number   int
		Image    string // reference to resolve when the step runs
		Platform string
		Config   container.Config
		Host     container.HostConfig
		Networks []project.Attachment
		// Replaces names the container whose anonymous volumes are taken over,
		// "" for none.
		Replaces string
		// Volumes maps a mount's target to the anonymous volume to take over.
		Volumes map[string]string
	}
	RenameContainer struct{ ID, Service, From, To string }
	StartContainer  struct{ ID, Name, Service string }
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
		Condition         project.Condition // Started here means running and not crash looping
		Timeout           time.Duration     // 0: none of its own
	}
)

func (PullImage) action()        {}
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
func (PauseContainer) action()   {}
func (UnpauseContainer) action() {}
func (RemoveContainer) action()  {}
func (RemoveImage) action()      {}
func (WaitContainer) action()    {}
