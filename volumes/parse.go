package volumes

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}

// ParseBind reads a bind as HostConfig.Binds has it: SOURCE:TARGET,
// SOURCE:TARGET:OPTIONS or, for an anonymous volume, TARGET alone. An absolute
// source is a host path, another one a volume's name. Options, separated by
// commas: ro, rw, z, Z, nocopy, a propagation, or a consistency; z, Z and
// consistencies have no effect. Source: docker run --volume.
func ParseBind(s string) (Point, error) {
	p, err := parseBind(s)
	if err != nil {
		return Point{}, fmt.Errorf("invalid volume specification: '%s': %w", s, err)
	}
	return p, nil
}

func parseBind(s string) (Point, error) {
	if strings.ContainsRune(s, 0) {
		return Point{}, invalid("contains a NUL")
	}
	var source, target, opts string
	parts := strings.Split(s, ":")
	switch len(parts) {
	case 1:
		return parseVolume(s)
	case 2:
		source, target = parts[0], parts[1]
	case 3:
		source, target, opts = parts[0], parts[1], parts[2]
	default:
		return Point{}, invalid("more than SOURCE:TARGET:OPTIONS")
	}
	if source == "" {
		return Point{}, invalid("no source")
	}
	if !path.IsAbs(target) && len(parts) == 2 && checkWords(strings.Split(target, ",")) == nil {
		return Point{}, invalid("an anonymous volume takes no options; write SOURCE:TARGET:OPTIONS")
	}
	p := Point{RW: true, Mode: opts}
	var err error
	if p.Target, err = cleanTarget(target); err != nil {
		return Point{}, err
	}
	if filepath.IsAbs(source) {
		p.Type, p.Source, p.CreateHostPath = mount.TypeBind, filepath.Clean(source), true
	} else {
		if err := CheckName(source); err != nil {
			return Point{}, err
		}
		p.Type, p.Name = mount.TypeVolume, source
	}
	if len(parts) == 3 {
		err = p.applyWords(strings.Split(opts, ","))
	}
	return p, err
}

// word kinds of a bind's options: of each kind at most one may be given.
var wordKinds = map[string]string{
	"ro": "access", "rw": "access",
	"z": "label", "Z": "label",
	"nocopy":     "copy",
	"consistent": "consistency", "cached": "consistency", "delegated": "consistency",
	"private": "propagation", "rprivate": "propagation",
	"shared": "propagation", "rshared": "propagation",
	"slave": "propagation", "rslave": "propagation",
}

func checkWords(words []string) error {
	seen := map[string]string{}
	for _, w := range words {
		kind, ok := wordKinds[w]
		if !ok {
			return invalid("invalid mode: %s", strings.Join(words, ","))
		}
		if other, twice := seen[kind]; twice {
			return invalid("options %q and %q exclude each other", other, w)
		}
		seen[kind] = w
	}
	return nil
}

func (p *Point) applyWords(words []string) error {
	if err := checkWords(words); err != nil {
		return err
	}
	for _, w := range words {
		switch {
		case w == "ro":
			p.RW = false
		case w == "nocopy":
			if p.Type != mount.TypeVolume {
				return invalid("option nocopy is for volumes, not for host paths")
			}
			p.NoCopy = true
		case wordKinds[w] == "propagation":
			if p.Type != mount.TypeBind {
				return invalid("propagation %q is for host paths, not for volumes", w)
			}
			p.Propagation = mount.Propagation(w)
		}
	}
	return nil
}

// parseVolume is an anonymous volume at target.
func parseVolume(target string) (Point, error) {
	clean, err := cleanTarget(target)
	if err != nil {
		return Point{}, err
	}
	return Point{Type: mount.TypeVolume, Target: clean, RW: true, Anonymous: true}, nil
}

// fromMount reads the long form. Options of another type than the mount's are
// an error, as with dockerd.
func fromMount(m mount.Mount) (Point, error) {
	target, err := cleanTarget(m.Target)
	if err != nil {
		return Point{}, err
	}
	p := Point{Type: m.Type, Target: target, RW: !m.ReadOnly}
	given := map[mount.Type]bool{
		mount.TypeBind:   m.BindOptions != nil,
		mount.TypeVolume: m.VolumeOptions != nil,
		mount.TypeTmpfs:  m.TmpfsOptions != nil,
		mount.TypeImage:  m.ImageOptions != nil,
	}
	for _, t := range []mount.Type{mount.TypeBind, mount.TypeVolume, mount.TypeTmpfs, mount.TypeImage} {
		if given[t] && t != m.Type {
			return Point{}, invalid("options of a %s on a mount of type %q", t, m.Type)
		}
	}
	switch m.Type {
	case mount.TypeBind:
		err = p.bindFrom(m)
	case mount.TypeVolume:
		err = p.volumeFrom(m)
	case mount.TypeTmpfs:
		err = p.tmpfsFrom(m)
	case mount.TypeImage:
		err = p.imageFrom(m)
	default:
		err = invalid("type %q is not bind, volume, tmpfs or image", m.Type)
	}
	return p, err
}

func (p *Point) bindFrom(m mount.Mount) error {
	if !filepath.IsAbs(m.Source) || strings.ContainsRune(m.Source, 0) {
		return invalid("source %q is not an absolute path", m.Source)
	}
	p.Source = filepath.Clean(m.Source)
	o := m.BindOptions
	if o == nil {
		return nil
	}
	if o.Propagation != "" && !slices.Contains(mount.Propagations, o.Propagation) {
		return invalid("propagation %q is unknown", o.Propagation)
	}
	if o.ReadOnlyForceRecursive && (!m.ReadOnly || o.ReadOnlyNonRecursive || o.NonRecursive) {
		return invalid("a mount that must be recursively read-only is not read-only and recursive")
	}
	p.Propagation = o.Propagation
	p.CreateHostPath = o.CreateMountpoint
	p.NonRecursive = o.NonRecursive
	p.ReadOnlyNonRecursive = o.ReadOnlyNonRecursive
	return nil
}

func (p *Point) volumeFrom(m mount.Mount) error {
	p.Name = m.Source
	p.Anonymous = m.Source == ""
	if !p.Anonymous {
		if err := CheckName(m.Source); err != nil {
			return err
		}
	}
	o := m.VolumeOptions
	if o == nil {
		return nil
	}
	if o.Subpath != "" && (p.Anonymous || !filepath.IsLocal(o.Subpath) || strings.ContainsRune(o.Subpath, 0)) {
		return invalid("subpath %q is not a path inside a named volume", o.Subpath)
	}
	p.NoCopy, p.Labels, p.Subpath = o.NoCopy, o.Labels, o.Subpath
	if o.DriverConfig != nil {
		p.Driver, p.Options = o.DriverConfig.Name, o.DriverConfig.Options
	}
	return nil
}

// imageFrom reads a mount of an image, which is read-only in any case.
func (p *Point) imageFrom(m mount.Mount) error {
	if p.Image, p.RW = m.Source, false; m.Source == "" {
		return invalid("an image mount has no source")
	}
	if o := m.ImageOptions; o != nil {
		if p.Subpath = o.Subpath; o.Subpath != "" && (!filepath.IsLocal(o.Subpath) || strings.ContainsRune(o.Subpath, 0)) {
			return invalid("subpath %q is not a path inside the image", o.Subpath)
		}
	}
	return nil
}

func (p *Point) tmpfsFrom(m mount.Mount) error {
	if m.Source != "" {
		return invalid("a tmpfs has no source, but %q is given", m.Source)
	}
	o := m.TmpfsOptions
	if o == nil {
		return nil
	}
	if o.SizeBytes < 0 {
		return invalid("tmpfs size %d is negative", o.SizeBytes)
	}
	var opts []string
	if o.SizeBytes > 0 {
		opts = append(opts, fmt.Sprintf("size=%d", o.SizeBytes))
	}
	if o.Mode != 0 {
		opts = append(opts, fmt.Sprintf("mode=%o", unixMode(o.Mode)))
	}
	for _, kv := range o.Options {
		if len(kv) != 1 && len(kv) != 2 {
			return invalid("tmpfs option %q is neither [NAME] nor [NAME, VALUE]", kv)
		}
		opts = append(opts, strings.Join(kv, "="))
	}
	var err error
	p.Tmpfs, err = checkTmpfs(opts)
	return err
}
