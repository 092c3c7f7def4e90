package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
)

// bundle is the directory of a container's task; its rootfs is mounted there.
// containerd makes it, with the address of the task's shim in bootstrap.json.
func (r *Runtime) bundle(id string) (string, error) {
	if r.server != nil {
		return filepath.Join(r.cfg.State, taskPlugin, r.cfg.Namespace, id), nil
	}
	// Another containerd has its own state directory; runc, whose directory
	// is ours, knows where the bundle is.
	b, err := os.ReadFile(filepath.Join(r.cfg.runcRoot(), r.cfg.Namespace, id, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("bundle of container %q: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("bundle of container %q: %w", id, err)
	}
	var state struct {
		Config struct {
			Labels []string `json:"labels"`
		} `json:"config"`
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return "", fmt.Errorf("bundle of container %q: runc's state: %w", id, err)
	}
	for _, l := range state.Config.Labels {
		if path, ok := strings.CutPrefix(l, "bundle="); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("bundle of container %q: runc's state does not name it: %w", id, errdefs.ErrNotFound)
}

// bundleIDs lists the containers that have a bundle.
func (r *Runtime) bundleIDs() ([]string, error) {
	dir := filepath.Join(r.cfg.runcRoot(), r.cfg.Namespace)
	if r.server != nil {
		dir = filepath.Join(r.cfg.State, taskPlugin, r.cfg.Namespace)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// shimAddress reads where the shim of a container's task listens, in the form
// in which containerd takes it: ttrpc+unix:///path.
func (r *Runtime) shimAddress(id string) (string, error) {
	dir, err := r.bundle(id)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("shim of container %q: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("shim of container %q: %w", id, err)
	}
	var boot struct {
		Protocol string `json:"protocol"`
		Address  string `json:"address"`
	}
	if err := json.Unmarshal(b, &boot); err != nil {
		return "", fmt.Errorf("shim of container %q: %w", id, err)
	}
	return boot.Protocol + "+" + boot.Address, nil
}

// adopt learns which containers there are, which shims run and which tasks
// share them.
func (r *Runtime) adopt(ctx context.Context) error {
	list, err := r.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	for _, c := range list {
		r.groups.of(c.ID, c.Labels[labelGroup])
	}
	ids, err := r.bundleIDs()
	if err != nil {
		return err
	}
	shims := map[string]*shim{}
	for _, id := range ids {
		address, err := r.shimAddress(id)
		if err != nil {
			r.log.WithError(err).Warn("a task's shim is unknown")
			continue
		}
		g := r.groups.known(id)
		if g == nil {
			continue // left by a container that is gone: Sweep sees to it
		}
		if shims[address] == nil {
			shims[address] = r.findShim(ctx, address)
		}
		g.adopt(id, shims[address])
	}
	return nil
}
