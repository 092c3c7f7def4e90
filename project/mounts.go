package project

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// mounts lists volumes in the user's order, then the secrets and configs that
// are files of the host.
func (t *translator) mounts(s types.ServiceConfig) []mount.Mount {
	var out []mount.Mount
	for _, v := range s.Volumes {
		if m, ok := t.mount(s, v); ok {
			out = append(out, m)
		}
	}
	for _, ref := range s.Secrets {
		if o := types.FileObjectConfig(t.model.Secrets[ref.Source]); mountable(o, types.FileReferenceConfig(ref)) {
			out = t.file(out, s, "secrets", ref.Source, o.File, secretTarget(ref))
		}
	}
	for _, ref := range s.Configs {
		if o := types.FileObjectConfig(t.model.Configs[ref.Source]); mountable(o, types.FileReferenceConfig(ref)) {
			out = t.file(out, s, "configs", ref.Source, o.File, configTarget(ref))
		}
	}
	return out
}

func (t *translator) mount(s types.ServiceConfig, v types.ServiceVolumeConfig) (mount.Mount, bool) {
	m := mount.Mount{Type: mount.Type(v.Type), Target: v.Target, ReadOnly: v.ReadOnly}
	fail := func(format string, args ...any) {
		t.problems = append(t.problems, Problem{Position: t.survey.volume(s.Name, v.Target), Service: s.Name, Text: fmt.Sprintf(format, args...)})
	}
	if !strings.HasPrefix(v.Target, "/") {
		fail("mount target %q is not an absolute path", v.Target)
	}
	switch v.Type {
	case types.VolumeTypeBind:
		m.Source = v.Source
		if v.Source == "" {
			fail("bind mount on %q has no source", v.Target)
		}
		m.BindOptions = bindOptions(v.Bind)
	case types.VolumeTypeVolume:
		if v.Source != "" {
			m.Source = t.model.Volumes[v.Source].Name
		}
		if o := v.Volume; o != nil && (o.NoCopy || o.Subpath != "") {
			m.VolumeOptions = &mount.VolumeOptions{NoCopy: o.NoCopy, Subpath: o.Subpath}
		}
	case types.VolumeTypeTmpfs:
		if v.Source != "" {
			fail("tmpfs mount on %q takes no source", v.Target)
		}
		if o := v.Tmpfs; o != nil && (o.Size != 0 || o.Mode != 0) {
			m.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: int64(o.Size), Mode: os.FileMode(o.Mode)}
		}
	case types.VolumeTypeImage:
		if m.Source, m.ReadOnly = v.Source, true; v.Source == "" {
			fail("image mount on %q has no source", v.Target)
		}
		if v.Image != nil && v.Image.SubPath != "" {
			m.ImageOptions = &mount.ImageOptions{Subpath: v.Image.SubPath}
		}
	default: // refused before, or ignored on the user's word
		return m, false
	}
	return m, true
}

// bindOptions translates the long form's options. A missing source is created
// unless create_host_path is false.
func bindOptions(b *types.ServiceVolumeBind) *mount.BindOptions {
	if b == nil {
		return &mount.BindOptions{CreateMountpoint: true}
	}
	return &mount.BindOptions{
		Propagation:            mount.Propagation(b.Propagation),
		CreateMountpoint:       bool(b.CreateHostPath),
		NonRecursive:           b.Recursive == "disabled",
		ReadOnlyNonRecursive:   b.Recursive == "writable",
		ReadOnlyForceRecursive: b.Recursive == "readonly",
	}
}

// file adds the read-only bind mount of a secret or config.
func (t *translator) file(out []mount.Mount, s types.ServiceConfig, section, source, file, target string) []mount.Mount {
	if why := readable(file); why != "" {
		t.problems = append(t.problems, Problem{
			Position: t.survey.position(section, source, "file"), Service: s.Name,
			Text: fmt.Sprintf("cannot use file %q of %s %q: %s", file, strings.TrimSuffix(section, "s"), source, why),
		})
	}
	return append(out, mount.Mount{
		Type: mount.TypeBind, Source: file, Target: target, ReadOnly: true, BindOptions: &mount.BindOptions{},
	})
}

func targetPort(p types.ServicePortConfig) (network.Port, error) {
	if p.Target == 0 || p.Target > 65535 {
		return network.Port{}, fmt.Errorf("port %d is not between 1 and 65535", p.Target)
	}
	return network.ParsePort(fmt.Sprintf("%d/%s", p.Target, first(p.Protocol, "tcp")))
}

// bindings translates ports. HostPort is "" for one that the runtime chooses,
// "PORT", or "FIRST-LAST" for any free one of a range.
func (t *translator) bindings(s types.ServiceConfig) network.PortMap {
	var out network.PortMap
	for _, p := range s.Ports {
		fail := func(format string, args ...any) {
			t.problems = append(t.problems, Problem{Position: t.survey.port(s.Name, p), Service: s.Name, Text: fmt.Sprintf(format, args...)})
		}
		target, err := targetPort(p)
		if err != nil {
			fail("%s", err)
			continue
		}
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			fail("port protocol %q is not tcp or udp", p.Protocol)
			continue
		}
		binding := network.PortBinding{HostPort: p.Published}
		if binding.HostPort == "0" {
			binding.HostPort = ""
		}
		if binding.HostPort != "" {
			if _, _, err := hostPorts(binding.HostPort); err != nil {
				fail("published port %q: %s", p.Published, err)
				continue
			}
		}
		if p.HostIP != "" {
			if binding.HostIP, err = netip.ParseAddr(p.HostIP); err != nil {
				fail("host_ip %q is not an IP address", p.HostIP)
				continue
			}
		}
		if out == nil {
			out = network.PortMap{}
		}
		out[target] = append(out[target], binding)
	}
	return out
}

// hostPorts parses "PORT" or "FIRST-LAST".
func hostPorts(s string) (from, to uint16, err error) {
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	a, errA := strconv.ParseUint(low, 10, 16)
	b, errB := strconv.ParseUint(high, 10, 16)
	if errA != nil || errB != nil || a == 0 || b < a {
		return 0, 0, fmt.Errorf("want PORT or FIRST-LAST between 1 and 65535")
	}
	return uint16(a), uint16(b), nil
}
