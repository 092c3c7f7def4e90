package spec

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// AppArmorProfile is the profile that containers run under where AppArmor is
// on and nothing else is asked for. Detect loads it.
const AppArmorProfile = "gantry-default"

const unconfined = "unconfined"

// security is what HostConfig.SecurityOpt says.
type security struct {
	seccomp         string // "", unconfined, a profile as JSON, or a path to one
	apparmor        string
	labels          []string // for SELinux
	noNewPrivileges bool
	systempaths     bool // true: nothing below /proc and /sys is hidden
	writableCgroups bool
}

// parseSecurity reads the options as dockerd and the docker CLI do: KEY=VALUE,
// the older KEY:VALUE, or no-new-privileges alone.
func parseSecurity(h container.HostConfig) (security, error) {
	var sec security
	for _, opt := range h.SecurityOpt {
		if opt == "no-new-privileges" {
			sec.noNewPrivileges = true
			continue
		}
		k, v, ok := strings.Cut(opt, "=")
		if !ok {
			k, v, ok = strings.Cut(opt, ":")
		}
		if !ok || v == "" {
			return sec, fmt.Errorf("security option %q is not KEY=VALUE: %w", opt, errdefs.ErrInvalidArgument)
		}
		var err error
		switch k {
		case "seccomp":
			sec.seccomp = v
			if v == "builtin" || v == "default" {
				sec.seccomp = ""
			}
		case "apparmor":
			sec.apparmor = v
		case "label":
			if v != "disable" {
				sec.labels = append(sec.labels, v)
			}
		case "no-new-privileges":
			sec.noNewPrivileges, err = strconv.ParseBool(v)
		case "writable-cgroups":
			sec.writableCgroups, err = strconv.ParseBool(v)
		case "systempaths":
			if v != unconfined {
				err = errdefs.ErrInvalidArgument
			}
			sec.systempaths = true
		default:
			return sec, fmt.Errorf("security option %q is unknown: %w", opt, errdefs.ErrInvalidArgument)
		}
		if err != nil {
			return sec, fmt.Errorf("security option %q has no valid value: %w", opt, errdefs.ErrInvalidArgument)
		}
	}
	return sec, nil
}

// leftOut names what has no effect on this host.
func (sec security) leftOut(f Facts) []string {
	var out []string
	for _, l := range sec.labels {
		out = append(out, fmt.Sprintf("SELinux labels are not supported. Label %q discarded.", l))
	}
	if sec.apparmor != "" && sec.apparmor != unconfined && !f.AppArmor {
		out = append(out, fmt.Sprintf("AppArmor is not enabled on this host. Profile %q discarded.", sec.apparmor))
	}
	return out
}

func (sec security) apparmorProfile(privileged bool, f Facts) string {
	switch {
	case !f.AppArmor:
		return ""
	case sec.apparmor != "":
		return sec.apparmor
	case privileged:
		return unconfined
	}
	return AppArmorProfile
}

// seccompProfile returns the system call filter for s, whose capabilities
// decide about parts of it; nil for none.
func (sec security) seccompProfile(s *specs.Spec, privileged bool, f Facts) (*specs.LinuxSeccomp, error) {
	custom := sec.seccomp
	switch {
	case custom == unconfined, custom == "" && (privileged || !f.Seccomp):
		return nil, nil
	case !f.Seccomp:
		return nil, fmt.Errorf("seccomp profile: the kernel has no seccomp; use seccomp=unconfined: %w", errdefs.ErrInvalidArgument)
	case custom == "":
		p, err := seccomp.GetDefaultProfile(s)
		if err != nil {
			return nil, fmt.Errorf("default seccomp profile: %w", err)
		}
		return p, nil
	}
	name := "given inline"
	if !strings.HasPrefix(strings.TrimSpace(custom), "{") {
		name = strconv.Quote(custom)
		if !filepath.IsAbs(custom) {
			return nil, fmt.Errorf("seccomp profile %s is neither JSON, an absolute path nor %q: %w", name, unconfined, errdefs.ErrInvalidArgument)
		}
		b, err := readProfile(custom)
		if err != nil {
			return nil, fmt.Errorf("seccomp profile: %v: %w", err, errdefs.ErrInvalidArgument)
		}
		custom = string(b)
	}
	p, err := seccomp.LoadProfile(custom, s)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile %s: %v: %w", name, err, errdefs.ErrInvalidArgument)
	}
	return p, nil
}

// maxProfile bounds what is read of a profile: Docker's has 15 kB.
const maxProfile = 1 << 20

// readProfile reads a regular file: nobody must hang on a FIFO or a device.
func readProfile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxProfile {
		return nil, fmt.Errorf("%q is no regular file of at most 1 MiB", path)
	}
	return io.ReadAll(io.LimitReader(f, maxProfile))
}

// maskedPaths are hidden from the container. Source: dockerd's defaults.
func (sec security) maskedPaths(h container.HostConfig, f Facts) []string {
	switch {
	case h.Privileged, sec.systempaths:
		return nil
	case h.MaskedPaths != nil:
		return h.MaskedPaths
	}
	return append([]string{
		"/proc/acpi",
		"/proc/asound",
		"/proc/interrupts",
		"/proc/kcore",
		"/proc/keys",
		"/proc/latency_stats",
		"/proc/sched_debug",
		"/proc/scsi",
		"/proc/timer_list",
		"/proc/timer_stats",
		"/sys/devices/virtual/powercap",
		"/sys/firmware",
	}, f.ThermalThrottle...)
}

// readonlyPaths cannot be written by the container. Source: dockerd's defaults.
func (sec security) readonlyPaths(h container.HostConfig) []string {
	switch {
	case h.Privileged, sec.systempaths:
		return nil
	case h.ReadonlyPaths != nil:
		return h.ReadonlyPaths
	}
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
