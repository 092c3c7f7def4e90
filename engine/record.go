package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gantry/project"
	"gantry/volumes"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// record is what a container was created as. It is kept in the extensions of
// its containerd container, so that it exists exactly as long as that does.
type record struct {
	ID         string               `json:"id"`
	Name       string               `json:"name"`
	Created    time.Time            `json:"created"`
	Image      string               `json:"image"`   // as asked for
	ImageID    string               `json:"imageId"` // what that was then
	Platform   string               `json:"platform,omitempty"`
	Config     container.Config     `json:"config"` // merged with the image's
	HostConfig container.HostConfig `json:"hostConfig"`
	Networks   []attachment         `json:"networks,omitempty"` // in order of priority
	Detached   bool                 `json:"detached,omitempty"` // taken off its last network: the next start brings the first one back
	Mounts     []volumes.Point      `json:"mounts,omitempty"`
	Files      []project.File       `json:"files,omitempty"` // without their contents
	LogPath    string               `json:"logPath,omitempty"`
}

// attachment is a container's place on one network, as it was asked for.
type attachment struct {
	Network  string                   `json:"network"` // the network's name
	Settings network.EndpointSettings `json:"settings"`
}

// state is what changes about a container while it lives:
//
//	<data-root>/containers/<id>/
//	  state.json           this, replaced by atomic rename
//	  intent.json          only while the container is being made: what to undo
//	  <id>-json.log[.n]    output
//	  hostname hosts resolv.conf
//	  files/               secrets and configs that are files of its own
//
// created → running ⇄ paused → exited → running …; restarting stands between
// two runs of a container with a restart policy; removing never goes back.
type state struct {
	Status       container.ContainerState `json:"status"`
	Pid          int                      `json:"pid,omitempty"`
	StartedAt    time.Time                `json:"startedAt,omitzero"`
	FinishedAt   time.Time                `json:"finishedAt,omitzero"`
	ExitCode     int                      `json:"exitCode"`
	Error        string                   `json:"error,omitempty"`
	OOMKilled    bool                     `json:"oomKilled,omitempty"`
	RestartCount int                      `json:"restartCount,omitempty"`
	// Stopped is set when a person stopped the container: no policy starts it again.
	Stopped bool `json:"stopped,omitempty"`
	// Owes is how many post_start hooks are still to be done.
	Owes int `json:"owes,omitempty"`
	// RemoveVolumes belongs to removing: anonymous volumes go too.
	RemoveVolumes bool                                 `json:"removeVolumes,omitempty"`
	Endpoints     map[string]*network.EndpointSettings `json:"endpoints,omitempty"` // by network name, as assigned
	Ports         network.PortMap                      `json:"ports,omitempty"`     // as bound
	Health        *container.Health                    `json:"health,omitempty"`
}

// wish is what decides, after a power cut, whether a container is started again.
type wish struct{ run, stopped bool }

func (s *state) wish() wish {
	return wish{run: s.alive() || s.Status == container.StateRestarting, stopped: s.Stopped}
}

// alive tells whether a process exists.
func (s *state) alive() bool {
	return s.Status == container.StateRunning || s.Status == container.StatePaused
}

// intent lists what a half-made container has brought into the world besides
// its directory, so that a crash while making it can be undone.
type intent struct {
	Volumes []string `json:"volumes,omitempty"`
}

// writeJSON replaces the file at path by v, atomically.
func writeJSON(path string, v any) error { return replaceJSON(path, v, false) }

// writeDurably is writeJSON for what must outlive a power cut.
func writeDurably(path string, v any) error { return replaceJSON(path, v, true) }

func replaceJSON(path string, v any, durable bool) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err == nil && durable {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write %q: %w", path, err)
	}
	if durable {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// syncDir has a rename in a directory outlive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readJSON fills v from the file at path.
func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	return nil
}
