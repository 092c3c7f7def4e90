package spec

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// baseDeviceRules deny all but the harmless devices; the runtime adds the
// terminals. Source: dockerd.
func baseDeviceRules() []specs.LinuxDeviceCgroup {
	allow := func(major, minor int64) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: &major, Minor: &minor, Access: "rwm"}
	}
	return []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		allow(1, 3), // null
		allow(1, 5), // zero
		allow(1, 7), // full
		allow(1, 8), // random
		allow(1, 9), // urandom
		allow(5, 0), // tty
		allow(5, 1), // console
	}
}

// addDevices gives the container the devices asked for; a privileged one gets
// all that the host has.
func addDevices(s *specs.Spec, h container.HostConfig) error {
	rules := &s.Linux.Resources.Devices
	if h.Privileged {
		all, err := oci.HostDevices()
		if err != nil {
			return fmt.Errorf("list the host's devices: %w", err)
		}
		s.Linux.Devices = all
		*rules = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	} else {
		*rules = baseDeviceRules()
	}
	for _, d := range h.Devices {
		if err := addDevice(s, d); err != nil {
			return err
		}
	}
	for _, r := range h.DeviceCgroupRules {
		rule, err := parseDeviceRule(r)
		if err != nil {
			return err
		}
		*rules = append(*rules, rule)
	}
	return nil
}

func addDevice(s *specs.Spec, d container.DeviceMapping) error {
	fail := func(err error) error {
		if cause := errors.Unwrap(err); cause != nil { // without the call that failed
			err = cause
		}
		return invalid("error gathering device information while adding custom device %q: %v", d.PathOnHost, err)
	}
	if !filepath.IsAbs(d.PathOnHost) {
		return fail(fmt.Errorf("not an absolute path"))
	}
	access := d.CgroupPermissions
	if access == "" {
		access = "rwm"
	}
	if strings.Trim(access, "rwm") != "" {
		return fail(fmt.Errorf("permissions %q are not of r, w and m", access))
	}
	target := d.PathInContainer
	if target == "" {
		target = d.PathOnHost
	}
	if !filepath.IsAbs(target) {
		return fail(fmt.Errorf("%q is not an absolute path", target))
	}
	real, err := filepath.EvalSymlinks(d.PathOnHost)
	if err != nil {
		return fail(err)
	}
	known := len(s.Linux.Devices)
	if err := oci.WithDevices(real, target, access)(context.Background(), nil, nil, s); err != nil {
		return fail(err)
	}
	if len(s.Linux.Devices) == known {
		return fail(fmt.Errorf("no device in this directory"))
	}
	return nil
}

// deviceRule is the syntax of cgroup v1's devices.allow.
var deviceRule = regexp.MustCompile(`^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$`)

func parseDeviceRule(r string) (specs.LinuxDeviceCgroup, error) {
	m := deviceRule.FindStringSubmatch(r)
	if m == nil {
		return specs.LinuxDeviceCgroup{}, invalid("invalid device cgroup rule format: '%s'", r)
	}
	rule := specs.LinuxDeviceCgroup{Allow: true, Type: m[1], Access: m[4]}
	for _, n := range []struct {
		text string
		to   **int64
	}{{m[2], &rule.Major}, {m[3], &rule.Minor}} {
		if n.text == "*" {
			continue
		}
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil {
			return rule, invalid("device cgroup rule %q: number %s is too large", r, n.text)
		}
		*n.to = &v
	}
	return rule, nil
}
