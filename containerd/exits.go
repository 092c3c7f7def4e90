package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// endings are the tasks whose end has not been told yet. The zero value is
// empty.
type endings struct {
	mu     sync.Mutex
	waited map[string]chan struct{} // closed when told
}

func (e *endings) expect(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waited == nil {
		e.waited = map[string]chan struct{}{}
	}
	e.waited[id] = make(chan struct{})
}

func (e *endings) told(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ch := e.waited[id]; ch != nil {
		close(ch)
		delete(e.waited, id)
	}
}

// wait waits until the end of a deleted task has been told, so that nothing of
// it comes afterwards, an exit record least of all.
func (e *endings) wait(ctx context.Context, id string) {
	e.mu.Lock()
	ch := e.waited[id]
	e.mu.Unlock()
	if ch == nil {
		return
	}
	timer := time.NewTimer(exitDelay)
	defer timer.Stop()
	select {
	case <-ch:
	case <-ctx.Done():
	case <-timer.C:
	}
	e.told(id)
}

// exitDelay is how long the end of a deleted task may remain untold: the shim
// delivers the process's output first.
const exitDelay = 2 * time.Second

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
