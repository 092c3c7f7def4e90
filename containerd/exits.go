package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// ExitRecord reads what the shim wrote when the container's process ended,
// before anybody was told: <ExitsDir>/<container id>.json. It is what remains
// of an exit that nobody was there to hear. ErrNotFound when there is none.
func (r *Runtime) ExitRecord(id string) (Exit, error) {
	var rec struct {
		ID   string    `json:"id"`
		Pid  int       `json:"pid"`
		Code int       `json:"code"`
		At   time.Time `json:"at"`
	}
	b, err := os.ReadFile(r.exitFile(id))
	if errors.Is(err, os.ErrNotExist) {
		return Exit{}, fmt.Errorf("exit record of container %q: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return Exit{}, fmt.Errorf("exit record of container %q: %w", id, err)
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return Exit{}, fmt.Errorf("exit record of container %q: %w: %w", id, err, errdefs.ErrDataLoss)
	}
	return Exit{ContainerID: id, Pid: rec.Pid, Code: rec.Code, At: rec.At}, nil
}

// RemoveExitRecord forgets a container's exit. It is no error if there is none.
func (r *Runtime) RemoveExitRecord(id string) error {
	if err := os.Remove(r.exitFile(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("exit record of container %q: %w", id, err)
	}
	return nil
}

func (r *Runtime) exitFile(id string) string {
	return filepath.Join(r.cfg.ExitsDir, filepath.Base(id)+".json")
}

// exitIDs lists the containers that have an exit record.
func (r *Runtime) exitIDs() ([]string, error) {
	entries, err := os.ReadDir(r.cfg.ExitsDir)
	if err != nil {
		return nil, fmt.Errorf("exit records: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
