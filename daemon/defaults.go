package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/opts"
	"github.com/moby/moby/api/types/container"
)

// Containers are the keys of daemon.json for containers that do not choose.
type Containers struct {
	Init            bool                         `json:"init"`
	NoNewPrivileges bool                         `json:"no-new-privileges"`
	ShmSize         opts.MemBytes                `json:"default-shm-size"`
	Ulimits         map[string]*container.Ulimit `json:"default-ulimits"`
	IpcMode         container.IpcMode            `json:"default-ipc-mode"`
	CgroupnsMode    container.CgroupnsMode       `json:"default-cgroupns-mode"`
	CgroupParent    string                       `json:"cgroup-parent"`
}

// defaults are what the engine is to give; ErrInvalidArgument names the key
// that cannot be.
func (c Containers) defaults() (engine.Defaults, error) {
	fail := func(key, format string, args ...any) (engine.Defaults, error) {
		return engine.Defaults{}, fmt.Errorf("%s: %s: %w", key, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
	}
	d := engine.Defaults{
		Init: c.Init, NoNewPrivileges: c.NoNewPrivileges, ShmSize: c.ShmSize.Value(),
		IpcMode: c.IpcMode, CgroupnsMode: c.CgroupnsMode, CgroupParent: c.CgroupParent,
	}
	if d.ShmSize < 0 {
		return fail("default-shm-size", "%d bytes", d.ShmSize)
	}
	if m := d.IpcMode; m != "" && !m.IsPrivate() && !m.IsShareable() {
		return fail("default-ipc-mode", "%q is neither private nor shareable", m)
	}
	if !d.CgroupnsMode.Valid() {
		return fail("default-cgroupns-mode", "%q is neither private nor host", d.CgroupnsMode)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ulimits)) {
		u := c.Ulimits[name]
		switch {
		case u == nil || u.Name != "" && !strings.EqualFold(u.Name, name):
			return fail("default-ulimits", `%q needs {"Name": %[1]q, "Soft": …, "Hard": …}`, name)
		case u.Hard != -1 && (u.Soft > u.Hard || u.Soft == -1):
			return fail("default-ulimits", "%q: the soft limit %d is above the hard one, %d", name, u.Soft, u.Hard)
		}
		limit := &container.Ulimit{Name: name, Soft: u.Soft, Hard: u.Hard}
		if _, err := limit.GetRlimit(); err != nil {
			return fail("default-ulimits", "%q is unknown", name)
		}
		d.Ulimits = append(d.Ulimits, limit)
	}
	return d, nil
}
