package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gantry/containerd/spec"
	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"
)

// planMounts decides what is mounted where in a container.
func (e *Engine) planMounts(rec *record, carried map[string]string) ([]volumes.Point, error) {
	h := &rec.HostConfig
	req := volumes.Request{Volumes: rec.Config.Volumes, Binds: h.Binds, Mounts: h.Mounts, Tmpfs: h.Tmpfs, VolumeDriver: h.VolumeDriver, Carried: carried, DataRoot: e.cfg.DataRoot}
	for _, from := range h.VolumesFrom {
		name, mode, _ := strings.Cut(from, ":")
		if !slices.Contains([]string{"", "ro", "rw", "z", "Z", "ro,z", "ro,Z", "rw,z", "rw,Z"}, mode) {
			return nil, fmt.Errorf("volumes from %q: invalid mode: %s: %w", from, mode, errdefs.ErrInvalidArgument)
		}
		c, err := e.find(name)
		if err != nil {
			return nil, asSetting(err)
		}
		other := c.record()
		for _, p := range other.Mounts {
			if _, own := other.HostConfig.Tmpfs[p.Target]; own && p.Type == mount.TypeTmpfs {
				continue // as Docker: what --tmpfs makes is no volume
			}
			p.RW = p.RW && !strings.HasPrefix(mode, "ro")
			p.Anonymous = false // it goes with its own container
			req.From = append(req.From, p)
		}
	}
	points, err := volumes.Points(req)
	if err != nil {
		return nil, err
	}
	for i := range points {
		if p := &points[i]; p.Type == mount.TypeVolume && p.Name == "" {
			p.Name, p.Anonymous = hashID(rec.ID, p.Target), true
		}
	}
	return points, nil
}

// makeVolumes makes the volumes that a container needs and that are not there,
// and finds out where each is. The anonymous ones are noted first, so that a
// crash leaves none behind.
func (e *Engine) makeVolumes(ctx context.Context, c *ctr, rec *record, undo *undoList) error {
	var in intent
	for i := range rec.Mounts {
		if p := &rec.Mounts[i]; p.Type == mount.TypeVolume && p.Anonymous {
			if _, err := e.volumes.Get(p.Name); errdefs.IsNotFound(err) {
				in.Volumes = append(in.Volumes, p.Name)
			}
		}
	}
	if len(in.Volumes) > 0 {
		if err := writeJSON(filepath.Join(c.dir, "intent.json"), in); err != nil {
			return err
		}
	}
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		switch p.Type {
		case mount.TypeBind:
			if err := volumes.Bind(p.Source, p.CreateHostPath); err != nil {
				return err
			}
			if err := volumes.CheckPropagation(p.Source, p.Propagation); err != nil {
				return err
			}
		case mount.TypeVolume:
			want := p.Volume()
			if p.Anonymous {
				want.Labels = map[string]string{labelAnonymous: ""}
			}
			v, missing, err := e.makeVolume(want)
			if err != nil {
				return asSetting(err)
			}
			if missing {
				e.emit(events.VolumeEventType, events.ActionCreate, v.Name, map[string]string{"driver": volumes.LocalDriver})
			}
			if missing && p.Anonymous { // a named one may be somebody else's by then
				undo.add(func(ctx context.Context) error { return ignoreNotFound(e.volumes.Remove(ctx, p.Name)) })
			}
			p.Source = v.Mountpoint
		case mount.TypeImage:
			if err := e.makeImageMount(ctx, rec, i, undo); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeVolume makes a volume that is not there.
func (e *Engine) makeVolume(want volumes.Volume) (v volumes.Volume, missing bool, err error) {
	unlock := e.exclusive("volume " + want.Name) // whoever removes it looks for users first
	defer unlock()
	_, err = e.volumes.Get(want.Name)
	missing = errdefs.IsNotFound(err)
	v, err = e.volumes.Create(want)
	return v, missing, err
}

// fillVolumes copies the image's content into volumes that are empty.
func (e *Engine) fillVolumes(ctx context.Context, rec *record, rootfs string) error {
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		if p.Type != mount.TypeVolume {
			continue
		}
		err := e.withVolume(ctx, rec.ID, p.Name, func(dir string) error {
			if !p.NoCopy && p.Subpath == "" {
				if err := volumes.CopyUp(ctx, rootfs, p.Target, dir); err != nil {
					return err
				}
			}
			if p.Subpath != "" {
				if _, err := volumes.ResolveSubpath(dir, p.Subpath); err != nil {
					return err
				}
				p.Source = e.volumes.SubpathMount(p.Name, rec.ID, p.Subpath) // bound anew for each run
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("volume %q at %q: %w", p.Name, p.Target, err)
		}
	}
	return nil
}

// withVolume gives f a volume's directory; one at a time, so that two replicas
// do not fill the same volume at once.
func (e *Engine) withVolume(ctx context.Context, user, name string, f func(dir string) error) error {
	unlock := e.exclusive("volume " + name)
	defer unlock()
	user += "-create"
	dir, err := e.volumes.Mount(ctx, name, user)
	if err == nil {
		err = f(dir)
	}
	cctx, cancel := e.cleanupContext()
	defer cancel()
	_, uerr := e.volumes.Unmount(cctx, name, user)
	return errJoin(err, uerr)
}

// exclusive holds the work on something by one at a time, by its name.
func (e *Engine) exclusive(what string) (unlock func()) {
	e.exclusives.Lock(what)
	return func() { e.exclusives.Unlock(what) }
}

// mountVolumes makes everything that a container mounts ready for a run, also
// for one that runs already under a daemon that was started after it.
func (e *Engine) mountVolumes(ctx context.Context, rec *record) error {
	running := false
	if c, err := e.find(rec.ID); err == nil {
		st := c.state()
		running = st.alive()
	}
	for i := range rec.Mounts {
		var err error
		switch p := &rec.Mounts[i]; p.Type {
		case mount.TypeBind:
			err = volumes.Bind(p.Source, p.CreateHostPath)
		case mount.TypeVolume:
			if _, err = e.volumes.Mount(ctx, p.Name, rec.ID); err == nil && p.Subpath != "" {
				_, err = e.volumes.MountSubpath(ctx, p.Name, rec.ID, p.Subpath)
			}
			if err == nil && !running {
				e.emit(events.VolumeEventType, events.ActionMount, p.Name, map[string]string{
					"driver": volumes.LocalDriver, "container": rec.ID, "destination": p.Target,
					"read/write": strconv.FormatBool(p.RW), "propagation": string(p.Propagation),
				})
			}
		case mount.TypeImage:
			err = e.rt.MountView(ctx, rec.ID, i, e.imageMount(rec.ID, i))
		}
		if err != nil {
			return err
		}
	}
	return e.makeShm(rec)
}

// unmountVolumes ends a container's use of its volumes and images.
func (e *Engine) unmountVolumes(ctx context.Context, rec *record) error {
	errs := []error{e.releaseImages(rec, rec.ID)}
	for i := range rec.Mounts {
		if p := &rec.Mounts[i]; p.Type == mount.TypeVolume {
			was, err := e.volumes.Unmount(ctx, p.Name, rec.ID)
			if errs = append(errs, err); was {
				e.emit(events.VolumeEventType, events.ActionUnmount, p.Name, map[string]string{"driver": volumes.LocalDriver, "container": rec.ID})
			}
		}
	}
	return errJoin(errs...)
}

// specMounts are a container's mounts in its runtime spec, files included.
func specMounts(rec *record, files map[string]string) []spec.Mount {
	var out []spec.Mount
	covered := map[string]bool{}
	for i := range rec.Mounts {
		p := &rec.Mounts[i]
		covered[p.Target] = true
		out = append(out, spec.Mount{Type: p.MountType(), Source: p.Source, Target: p.Target, Options: p.MountOptions()})
	}
	for _, target := range slices.Sorted(maps.Keys(files)) {
		if !covered[target] { // the user's own file wins
			opts := []string{"rbind", "rprivate"}
			if rec.HostConfig.ReadonlyRootfs {
				opts = append(opts, "ro")
			}
			out = append(out, spec.Mount{Type: "bind", Source: files[target], Target: target, Options: opts})
		}
	}
	return out
}

func (e *Engine) shmPath(id string) string { return filepath.Join(e.cfg.RunRoot, "shm", id) }

// makeShm makes the /dev/shm that other containers may join. A private one
// belongs to the runtime spec alone.
func (e *Engine) makeShm(rec *record) error {
	if !rec.HostConfig.IpcMode.IsShareable() {
		return nil
	}
	dir := e.shmPath(rec.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.TMPFS_MAGIC && mounted(dir) {
		return nil
	}
	opts := fmt.Sprintf("mode=1777,size=%d", spec.ShmSize(rec.HostConfig))
	if err := unix.Mount("shm", dir, "tmpfs", unix.MS_NOEXEC|unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	return nil
}

// mounted tells whether something is mounted at dir: its device is not its
// parent's.
func mounted(dir string) bool {
	var a, b unix.Stat_t
	return unix.Stat(dir, &a) == nil && unix.Stat(filepath.Dir(dir), &b) == nil && a.Dev != b.Dev
}

func (e *Engine) dropShm(id string) error {
	dir := e.shmPath(id)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("shared memory: %w", err)
	}
	return os.Remove(dir)
}
