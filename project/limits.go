package project

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// oneOf limits a key to values that are honoured.
func oneOf(why string, values ...string) func(string) string {
	return func(v string) string {
		if v == "" || slices.Contains(values, v) {
			return ""
		}
		return fmt.Sprintf("%q is not supported: %s", v, why)
	}
}

// limitNetworkMode accepts the modes that need no network of the project.
func limitNetworkMode(v string) string {
	switch {
	case slices.Contains([]string{"", "bridge", "default", "host", "none"}, v):
		return ""
	case nameAfter(v, "service:"), nameAfter(v, "container:"):
		return ""
	}
	return fmt.Sprintf("%q is not supported: use bridge, host, none, service:NAME or container:NAME, or the key networks", v)
}

func nameAfter(v, prefix string) bool {
	name, ok := strings.CutPrefix(v, prefix)
	return ok && name != ""
}

// limitNamespace accepts plain modes and those that name a service or a
// container.
func limitNamespace(modes ...string) func(string) string {
	return func(v string) string {
		if v == "" || slices.Contains(modes, v) || nameAfter(v, "service:") || nameAfter(v, "container:") {
			return ""
		}
		return fmt.Sprintf("%q is not supported: use %s, service:NAME or container:NAME", v, strings.Join(modes, ", "))
	}
}

// limitVolumesFrom accepts SERVICE[:MODE].
func limitVolumesFrom(v string) string {
	name, mode, _ := strings.Cut(v, ":")
	if name == "container" {
		return fmt.Sprintf("%q is not supported: name a service, or the same volumes in both containers", v)
	}
	if name == "" || !slices.Contains([]string{"", "ro", "rw"}, mode) {
		return fmt.Sprintf("%q is not supported: use SERVICE, SERVICE:ro or SERVICE:rw", v)
	}
	return ""
}

// limitLink accepts SERVICE and SERVICE:ALIAS.
func limitLink(v string) string {
	name, alias, named := strings.Cut(v, ":")
	if name == "" || named && (alias == "" || strings.ContainsAny(alias, ": /")) {
		return fmt.Sprintf("%q is not supported: use SERVICE or SERVICE:ALIAS", v)
	}
	return ""
}

// limitExternalLink accepts CONTAINER and CONTAINER:ALIAS.
func limitExternalLink(v string) string {
	if limitLink(v) == "" {
		return ""
	}
	return fmt.Sprintf("%q is not supported: use CONTAINER or CONTAINER:ALIAS", v)
}

func remarkCompress(v string) string {
	if yes, err := strconv.ParseBool(v); err == nil && yes {
		return "files that were rotated are not compressed; max-size and max-file bound them"
	}
	return ""
}

func remarkEndpoint(v string) string {
	if v == "vip" {
		return "names resolve to the containers' addresses, in rotation"
	}
	return ""
}

// volumeOptions are the options of a volume's short form that compose-go
// understands; it ignores all others. The last three ask for less than a bind
// mount gives anyway.
var volumeOptions = []string{
	"ro", "rw", "nocopy", "rprivate", "private", "rshared", "shared", "rslave", "slave",
	"consistent", "cached", "delegated",
}

// limitVolume looks at the options of SOURCE:TARGET:OPTIONS.
func limitVolume(v string) string {
	parts := strings.Split(v, ":")
	if len(parts) != 3 {
		return ""
	}
	for _, option := range strings.Split(parts[2], ",") {
		if !slices.Contains(volumeOptions, option) && option != "z" && option != "Z" {
			return fmt.Sprintf("mount option %q is not supported; use %s", option, strings.Join(volumeOptions, ", "))
		}
	}
	return ""
}

func remarkVolume(v string) string {
	if parts := strings.Split(v, ":"); len(parts) == 3 {
		for _, option := range strings.Split(parts[2], ",") {
			if option == "z" || option == "Z" {
				return noRelabel
			}
		}
	}
	return ""
}

// limitSecurityOpt accepts what the runtime can enforce. Source: Docker's
// --security-opt.
func limitSecurityOpt(v string) string {
	if key, _ := securityOption(v); slices.Contains([]string{"no-new-privileges", "seccomp", "apparmor", "systempaths", "writable-cgroups", "label"}, key) {
		return ""
	}
	return fmt.Sprintf("%q is not supported; use no-new-privileges, seccomp, apparmor, systempaths or writable-cgroups", v)
}

func remarkSecurityOpt(v string) string {
	if key, value := securityOption(v); key == "label" && value != "disable" {
		return "SELinux labels are not set; without SELinux nothing is missing"
	}
	return ""
}

func securityOption(v string) (key, value string) {
	key, value, _ = strings.Cut(strings.Replace(v, ":", "=", 1), "=")
	return key, value
}
