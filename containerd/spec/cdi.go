package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
)

// gpuKinds are the CDI kinds of GPUs by the driver that a request may name, the
// preferred one first. Source: dockerd.
var gpuKinds = []struct{ driver, kind string }{{"nvidia", "nvidia.com/gpu"}, {"amd", "amd.com/gpu"}}

// gpuCapabilities are what a request for GPUs may ask of them besides "gpu".
// The CDI specification of a device decides what it brings: all of them.
// Source: NVIDIA's container toolkit.
var gpuCapabilities = []string{"gpu", "nvidia", "amd", "compute", "compat32", "graphics", "utility", "video", "display", "ngx"}

// checkDeviceRequests refuses requests for devices that no CDI specification
// could answer.
func checkDeviceRequests(h container.HostConfig) error {
	for _, r := range h.DeviceRequests {
		if err := checkDeviceRequest(r); err != nil {
			return err
		}
	}
	return nil
}

func checkDeviceRequest(r container.DeviceRequest) error {
	if r.Driver == "cdi" {
		switch {
		case r.Count != 0:
			return invalid("unexpected count in CDI device request")
		case len(r.Options) > 0:
			return invalid("unexpected options in CDI device request")
		case len(r.DeviceIDs) == 0:
			return invalid("a CDI device request names no device")
		}
		for _, id := range r.DeviceIDs {
			if !parser.IsQualifiedName(id) {
				return invalid("CDI device %q is not like vendor.com/class=name", id)
			}
		}
		return nil
	}
	switch {
	case len(driversFor(r)) == 0:
		return invalid("could not select device driver %q with capabilities: %v", r.Driver, r.Capabilities)
	case r.Count != 0 && len(r.DeviceIDs) > 0:
		return invalid("cannot set both Count and DeviceIDs on device request")
	case r.Count < -1:
		return invalid("device request: count %d is neither positive nor -1 (all)", r.Count)
	case len(r.Options) > 0:
		return invalid("device request: options %q are not supported: a CDI specification decides about its devices", slices.Sorted(maps.Keys(r.Options)))
	}
	return nil
}

// driversFor are the kinds of GPUs that can answer a request: those of its
// driver, or of any if it names none, provided that it asks for GPUs.
func driversFor(r container.DeviceRequest) []string {
	wanted := slices.ContainsFunc(r.Capabilities, func(all []string) bool {
		return slices.Contains(all, "gpu") && !slices.ContainsFunc(all, func(c string) bool { return !slices.Contains(gpuCapabilities, c) })
	})
	var out []string
	for _, k := range gpuKinds {
		if wanted && (r.Driver == "" || r.Driver == k.driver) {
			out = append(out, k.kind)
		}
	}
	return out
}

// injectDevices adds what the CDI specifications in dirs say of the devices
// asked for: nodes, mounts, variables, hooks. They are read when they are
// needed, so that they may change at any time and cost nothing unused.
func injectDevices(s *specs.Spec, h container.HostConfig, dirs []string) error {
	if len(h.DeviceRequests) == 0 {
		return nil
	}
	if len(dirs) == 0 {
		return invalid("CDI device injection failed: no directory of CDI specifications is configured (cdi-spec-dirs)")
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(dirs...), cdi.WithAutoRefresh(false))
	if err != nil {
		return fmt.Errorf("CDI specifications in %q: %w", dirs, err)
	}
	var names []string
	for _, r := range h.DeviceRequests {
		more := r.DeviceIDs
		if r.Driver != "cdi" {
			if more, err = gpus(r, cache.ListDevices()); err != nil {
				return invalid("%v; looked for CDI specifications in %s%s", err, strings.Join(dirs, ", "), broken(cache))
			}
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if missing, err := cache.InjectDevices(s, names...); len(missing) > 0 {
		return invalid("CDI device injection failed: %v; looked for CDI specifications in %s%s", err, strings.Join(dirs, ", "), broken(cache))
	} else if err != nil {
		return invalid("CDI device injection failed: %v", err)
	}
	return nil
}

// gpus names the devices of a request for GPUs among those known.
func gpus(r container.DeviceRequest, known []string) ([]string, error) {
	kinds := driversFor(r)
	for _, kind := range kinds {
		if !slices.ContainsFunc(known, func(name string) bool { return strings.HasPrefix(name, kind+"=") }) {
			continue
		}
		if r.Count > len(known) {
			return nil, fmt.Errorf("CDI device injection failed: %d devices of kind %s asked for, and there are fewer", r.Count, kind)
		}
		ids := r.DeviceIDs
		switch {
		case len(ids) > 0:
		case r.Count < 0:
			ids = []string{"all"}
		default:
			for i := range max(r.Count, 1) {
				ids = append(ids, strconv.Itoa(i))
			}
		}
		out := make([]string, len(ids))
		for i, id := range ids {
			if out[i] = kind + "=" + id; !slices.Contains(known, out[i]) {
				return nil, fmt.Errorf("CDI device injection failed: unresolvable CDI devices %s", out[i])
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("could not select device driver %q with capabilities: %v: there are no devices of kind %s", r.Driver, r.Capabilities, strings.Join(kinds, " or "))
}

// broken tells of specifications that could not be read, whose devices are
// therefore missing.
func broken(cache *cdi.Cache) string {
	all := cache.GetErrors()
	var out strings.Builder
	for _, path := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&out, "; %s: %v", path, errors.Join(all[path]...))
	}
	return out.String()
}
