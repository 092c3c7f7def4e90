package spec

import (
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultCapabilities are what a container gets unasked. Source: dockerd.
var defaultCapabilities = []string{
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_FSETID",
	"CAP_FOWNER",
	"CAP_MKNOD",
	"CAP_NET_RAW",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETFCAP",
	"CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT",
	"CAP_KILL",
	"CAP_AUDIT_WRITE",
}

const allCapabilities = "ALL"

// capabilities applies cap_add and cap_drop to the defaults: adding ALL gives
// all but those dropped, dropping ALL leaves only those added.
func capabilities(h container.HostConfig, f Facts) ([]string, error) {
	if h.Privileged {
		return f.Capabilities, nil
	}
	add, err := normalize(h.CapAdd, "CapAdd")
	if err != nil {
		return nil, err
	}
	drop, err := normalize(h.CapDrop, "CapDrop")
	if err != nil {
		return nil, err
	}
	var base []string
	switch {
	case slices.Contains(add, allCapabilities):
		base, add = f.Capabilities, nil
	case !slices.Contains(drop, allCapabilities):
		base = defaultCapabilities
	}
	var out []string
	for _, c := range base {
		if slices.Contains(f.Capabilities, c) && !slices.Contains(drop, c) {
			out = append(out, c)
		}
	}
	for _, c := range add {
		if !slices.Contains(f.Capabilities, c) {
			return nil, invalid("invalid CapAdd: capability not supported by your kernel or not available in the current environment: %q", c)
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out, nil
}

// normalize brings names to the form CAP_NAME and refuses unknown ones.
func normalize(names []string, key string) ([]string, error) {
	var out []string
	for _, n := range names {
		c := strings.ToUpper(n)
		if c != allCapabilities && !strings.HasPrefix(c, "CAP_") {
			c = "CAP_" + c
		}
		if c != allCapabilities && !slices.Contains(cap.Known(), c) {
			return nil, invalid("invalid %s: unknown capability: %q", key, c)
		}
		out = append(out, c)
	}
	return out, nil
}

// linuxCapabilities grants caps to root. Inheritable and ambient sets stay
// empty, so that other users hold none unless a file gives them.
func linuxCapabilities(caps []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
}
