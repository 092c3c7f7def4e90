package spec

import "github.com/moby/moby/api/types/container"

// AppArmorOf is the profile that a container runs under, "" without AppArmor.
func AppArmorOf(h container.HostConfig, f Facts) string {
	sec, err := parseSecurity(h)
	if err != nil { // Build refuses it
		return ""
	}
	return sec.apparmorProfile(h.Privileged, f)
}
