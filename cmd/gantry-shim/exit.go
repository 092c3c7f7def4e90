package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
)

// exitRecord is what <exits dir>/<container id>.json holds. It is there before
// the exit is told, so that a daemon that was away learns the code: containerd
// drops the tasks that are dead when it starts.
type exitRecord struct {
	ID     string    `json:"id"`
	ExecID string    `json:"exec_id"` // always "": only containers' own processes are recorded
	Pid    uint32    `json:"pid"`
	Code   uint32    `json:"code"`
	At     time.Time `json:"at"`
}

// writeExit replaces the container's exit file in dir by one rename.
func writeExit(dir string, e *eventstypes.TaskExit) error {
	b, err := json.Marshal(exitRecord{ID: e.ContainerID, Pid: e.Pid, Code: e.ExitStatus, At: e.ExitedAt.AsTime()})
	if err != nil {
		return fmt.Errorf("exit file of container %q: %w", e.ContainerID, err)
	}
	path := filepath.Join(dir, e.ContainerID+".json")
	temporary := filepath.Join(dir, "."+e.ContainerID+".json")
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return fmt.Errorf("exit file of container %q: %w", e.ContainerID, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return fmt.Errorf("exit file of container %q: %w", e.ContainerID, err)
	}
	return nil
}
