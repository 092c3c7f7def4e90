package engine

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// Defaults are what containers get that do not choose for themselves.
type Defaults struct {
	Init, NoNewPrivileges bool
	ShmSize               int64 // bytes, 0: Docker's default
	Ulimits               []*container.Ulimit
	IpcMode               container.IpcMode
	CgroupnsMode          container.CgroupnsMode
	CgroupParent          string
}

// complete puts the defaults where a container says nothing.
func (d Defaults) complete(h *container.HostConfig, cgroupV2 bool) {
	if h.Init == nil && d.Init {
		h.Init = new(true)
	}
	if h.ShmSize == 0 {
		h.ShmSize = d.ShmSize
	}
	if h.IpcMode.IsEmpty() {
		h.IpcMode = d.IpcMode
	}
	if h.CgroupnsMode.IsEmpty() && (cgroupV2 || !h.Privileged) { // as Docker: with cgroup v1 a privileged one sees the host's
		h.CgroupnsMode = d.CgroupnsMode
	}
	if h.CgroupParent == "" {
		h.CgroupParent = d.CgroupParent
	}
	h.Ulimits = slices.Clone(h.Ulimits)
	for _, u := range d.Ulimits {
		if !slices.ContainsFunc(h.Ulimits, func(own *container.Ulimit) bool { return own != nil && own.Name == u.Name }) {
			h.Ulimits = append(h.Ulimits, u)
		}
	}
	chosen := func(opt string) bool { return strings.HasPrefix(opt, "no-new-privileges") }
	if d.NoNewPrivileges && !slices.ContainsFunc(h.SecurityOpt, chosen) {
		h.SecurityOpt = append(slices.Clone(h.SecurityOpt), "no-new-privileges")
	}
}
