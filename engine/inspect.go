package engine

import (
	"context"
	"time"

	"gantry/containerd/spec"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"
)

// InspectContainer tells all that is known about a container, in Docker's shape.
func (e *Engine) InspectContainer(ctx context.Context, ref string) (container.InspectResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return container.InspectResponse{}, err
	}
	c.mu.Lock()
	rec, st := c.rec, c.st
	c.mu.Unlock()
	path, args := commandOf(&rec.Config)
	files := e.files(c, &rec)
	host, config := rec.HostConfig, rec.Config
	host.LogConfig.Config = orEmpty(host.LogConfig.Config)
	if host.PortBindings == nil {
		host.PortBindings = network.PortMap{}
	}
	host.Links = shownLinks(&rec)
	config.Labels = orEmpty(config.Labels)
	r := container.InspectResponse{
		ID: rec.ID, Created: stamp(rec.Created), Path: path, Args: args, State: stateOf(&st),
		Image: rec.ImageID, Name: "/" + rec.Name, RestartCount: st.RestartCount,
		ResolvConfPath: files["/etc/resolv.conf"], HostnamePath: files["/etc/hostname"], HostsPath: files["/etc/hosts"],
		Driver: snapshotter, Platform: "linux", HostConfig: &host, Config: &config, Mounts: e.mountPoints(&rec),
		AppArmorProfile:         spec.AppArmorOf(host, e.facts),
		Storage:                 &storage.Storage{RootFS: &storage.RootFSStorage{Snapshot: &storage.RootFSStorageSnapshot{Name: snapshotter}}},
		NetworkSettings:         e.networkSettings(c, &rec, &st),
		ExecIDs:                 e.execIDs(c.id),
		ImageManifestDescriptor: e.imageOf(ctx, &rec).descriptor,
	}
	if host.LogConfig.Type == logJSON {
		r.LogPath = c.logPath()
	}
	return r, nil
}

// snapshotter is the storage driver, as inspect names it.
const snapshotter = "overlayfs"

// orEmpty is a map that JSON shows as {} rather than null.
func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func stateOf(s *state) *container.State {
	health := s.Health
	if health != nil && health.Log == nil {
		h := *health
		h.Log = []*container.HealthcheckResult{} // a list before the first probe, too
		health = &h
	}
	return &container.State{
		Status: s.Status, Running: s.alive() || s.Status == container.StateRestarting, Paused: s.Status == container.StatePaused,
		Restarting: s.Status == container.StateRestarting, OOMKilled: s.OOMKilled, Dead: s.Status == container.StateDead,
		Pid: s.Pid, ExitCode: s.ExitCode, Error: s.Error, StartedAt: stamp(s.StartedAt), FinishedAt: stamp(s.FinishedAt), Health: health,
	}
}

// stamp is Docker's way to write a moment; the zero time included.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// commandOf is what is executed: the entrypoint's first word and the rest.
func commandOf(c *container.Config) (path string, args []string) {
	argv := append(append([]string{}, c.Entrypoint...), c.Cmd...)
	if len(argv) == 0 {
		return "", []string{}
	}
	return argv[0], argv[1:]
}

// mountPoints is where the container's mounts come from and stand.
func (e *Engine) mountPoints(rec *record) []container.MountPoint {
	out := make([]container.MountPoint, 0, len(rec.Mounts))
	for i := range rec.Mounts {
		// as Docker's, it leaves out what HostConfig.Tmpfs tells already
		if _, told := rec.HostConfig.Tmpfs[rec.Mounts[i].Target]; !told || rec.Mounts[i].Type != mount.TypeTmpfs {
			m := rec.Mounts[i].MountPoint()
			if m.Type == mount.TypeVolume && m.Mode == "" && !rec.Mounts[i].Anonymous {
				m.Mode = "z" // what Docker shows for volumes that were named, though nothing is relabelled
			}
			out = append(out, m)
		}
	}
	return out
}
