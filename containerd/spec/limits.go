package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const unlimited = ^uint64(0) // RLIM_INFINITY

// rlimits are those asked for; the others are inherited from the daemon.
func rlimits(h container.HostConfig) []specs.POSIXRlimit {
	var out []specs.POSIXRlimit
	for _, u := range h.Ulimits {
		out = append(out, specs.POSIXRlimit{Type: rlimitName(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	return out
}

func rlimitName(ulimit string) string { return "RLIMIT_" + strings.ToUpper(ulimit) }

func checkUlimits(h container.HostConfig, f Facts) error {
	seen := map[string]bool{}
	for _, u := range h.Ulimits {
		if u == nil {
			return fmt.Errorf("an ulimit is null: %w", errdefs.ErrInvalidArgument)
		}
		if _, err := u.GetRlimit(); err != nil {
			return fmt.Errorf("ulimit %q is unknown: %w", u.Name, errdefs.ErrInvalidArgument)
		}
		if seen[u.Name] {
			return fmt.Errorf("ulimit %q is given twice: %w", u.Name, errdefs.ErrInvalidArgument)
		}
		seen[u.Name] = true
		soft, hard := uint64(u.Soft), uint64(u.Hard) // -1 is unlimited, the greatest
		if soft > hard {
			return fmt.Errorf("ulimit %q: soft limit %d is above hard limit %d: %w", u.Name, u.Soft, u.Hard, errdefs.ErrInvalidArgument)
		}
		cur, known := f.Rlimits[rlimitName(u.Name)]
		if known && hard > cur.Max && !f.has("CAP_SYS_RESOURCE") {
			return fmt.Errorf("ulimit %q: hard limit %d is above the daemon's own of %d, and raising it needs CAP_SYS_RESOURCE, which the daemon lacks: %w", u.Name, u.Hard, cur.Max, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// OOMScoreAdj is nil where the daemon's own value must be inherited: without
// CAP_SYS_RESOURCE it can only rise.
func OOMScoreAdj(want int, f Facts) *int {
	if want < f.OOMScoreAdj && !f.has("CAP_SYS_RESOURCE") {
		return nil
	}
	return &want
}

func checkOOMScoreAdj(h container.HostConfig, f Facts) error {
	v := h.OomScoreAdj
	if v < -1000 || v > 1000 {
		return invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", v)
	}
	if v != 0 && OOMScoreAdj(v, f) == nil {
		return fmt.Errorf("oom_score_adj %d is below the daemon's own of %d, and lowering it needs CAP_SYS_RESOURCE, which the daemon lacks: %w", v, f.OOMScoreAdj, errdefs.ErrInvalidArgument)
	}
	return nil
}

// ipcSysctls belong to the IPC namespace. Source: namespaces(7) and dockerd's list.
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
	"kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}

func checkSysctls(h container.HostConfig) error {
	for _, k := range slices.Sorted(maps.Keys(h.Sysctls)) {
		switch {
		case strings.HasPrefix(k, "net."):
			if h.NetworkMode.IsHost() {
				return fmt.Errorf("sysctl %q cannot be set with the host's network: %w", k, errdefs.ErrInvalidArgument)
			}
		case slices.Contains(ipcSysctls, k), strings.HasPrefix(k, "fs.mqueue."):
			if h.IpcMode.IsHost() {
				return fmt.Errorf("sysctl %q cannot be set with the host's IPC namespace: %w", k, errdefs.ErrInvalidArgument)
			}
		default:
			return fmt.Errorf("sysctl %q belongs to the whole host, not to a container: %w", k, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// sysctls adds dockerd's defaults, which let any user ping and bind low ports
// in a network namespace of the container's own, and the NIS domain name, for
// which the specification has no field that runc 1.1 knows.
func sysctls(in Input) map[string]string {
	out := map[string]string{}
	if mode := in.Host.NetworkMode; mode.IsPrivate() {
		if in.Facts.PingGroupRange {
			out["net.ipv4.ping_group_range"] = "0 2147483647"
		}
		if in.Facts.UnprivilegedPortStart {
			out["net.ipv4.ip_unprivileged_port_start"] = "0"
		}
	}
	if in.Domainname != "" && !in.Host.UTSMode.IsHost() {
		out["kernel.domainname"] = in.Domainname
	}
	maps.Copy(out, in.Host.Sysctls)
	return out
}
