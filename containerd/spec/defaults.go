package spec

import "github.com/moby/moby/api/types/container"

// Complete writes down what Docker gives a container that does not ask, so that
// inspect tells it: modes, the swap limit, hidden paths. It says nothing new to
// Build.
func Complete(h *container.HostConfig, f Facts) {
	setDefault(&h.Runtime, "runc")
	setDefault(&h.IpcMode, container.IPCModePrivate)
	if h.CgroupnsMode.IsEmpty() {
		h.CgroupnsMode = container.CgroupnsModeHost
		if f.CgroupV2 {
			h.CgroupnsMode = container.CgroupnsModePrivate
		}
	}
	h.ShmSize = ShmSize(*h)
	CompleteResources(&h.Resources, f)
	if h.PidsLimit != nil && *h.PidsLimit <= 0 {
		h.PidsLimit = nil
	}
	if h.Privileged {
		return
	}
	sec := security{}
	if h.MaskedPaths == nil {
		h.MaskedPaths = sec.maskedPaths(*h, f)
	}
	if h.ReadonlyPaths == nil {
		h.ReadonlyPaths = sec.readonlyPaths(*h)
	}
}

// CompleteResources is Complete for limits alone.
func CompleteResources(r *container.Resources, f Facts) {
	if r.Memory > 0 && r.MemorySwap == 0 && f.Swap {
		r.MemorySwap = 2 * r.Memory // as much swap as memory
	}
	if r.MemorySwappiness != nil && *r.MemorySwappiness < 0 {
		r.MemorySwappiness = nil // the command line's way to say nothing
	}
	switch {
	case !f.OOMKillDisable:
		r.OomKillDisable = nil
	case r.OomKillDisable == nil:
		r.OomKillDisable = new(bool)
	}
}
