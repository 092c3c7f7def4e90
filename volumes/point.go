// Package volumes keeps named volumes and prepares what is mounted into
// containers: volumes, host paths and tmpfs.
package volumes

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// Point is one mount point of a container. It is kept in the container's
// record and serves to make its volume, to fill that, to mount it, and to
// show it.
type Point struct {
	Type   mount.Type `json:"type"`             // volume, bind, tmpfs or image
	Target string     `json:"target"`           // absolute and clean
	Source string     `json:"source,omitempty"` // host path: of a bind as asked for, of a volume once the caller knows it
	RW     bool       `json:"rw,omitempty"`
	Mode   string     `json:"mode,omitempty"` // the options of the SOURCE:TARGET:OPTIONS form as written

	// Of volumes.
	Name      string            `json:"name,omitempty"`      // empty for an anonymous volume that is still to be made
	Anonymous bool              `json:"anonymous,omitempty"` // goes when its container goes
	Driver    string            `json:"driver,omitempty"`
	Options   map[string]string `json:"options,omitempty"` // of the driver
	Labels    map[string]string `json:"labels,omitempty"`
	NoCopy    bool              `json:"noCopy,omitempty"`  // do not fill it from the image
	Subpath   string            `json:"subpath,omitempty"` // mount this directory of the volume; relative

	// Image is the reference of an image that is mounted; Subpath is within it.
	Image   string `json:"image,omitempty"`
	ImageID string `json:"imageID,omitempty"` // what it meant when the container was made

	// Of binds; propagation and recursion are a volume's too.
	CreateHostPath       bool              `json:"createHostPath,omitempty"` // make a missing source a directory
	Propagation          mount.Propagation `json:"propagation,omitempty"`
	NonRecursive         bool              `json:"nonRecursive,omitempty"`
	ReadOnlyNonRecursive bool              `json:"readOnlyNonRecursive,omitempty"`

	Tmpfs []string `json:"tmpfs,omitempty"` // mount options, later ones win
}

// Request is what a container asks to have mounted.
type Request struct {
	Volumes      map[string]struct{} // container.Config.Volumes, those of the image included
	Binds        []string            // and the following: of HostConfig
	Mounts       []mount.Mount
	Tmpfs        map[string]string
	VolumeDriver string

	// From holds the mount points of the containers named in VolumesFrom.
	From []Point
	// Carried names the anonymous volumes, by target, that a predecessor of
	// the container leaves to it.
	Carried map[string]string
	// DataRoot is the directory of which binds must not pin mounts: one that
	// holds it is mounted as rslave unless it says otherwise.
	DataRoot string
}

// Points returns the mount points that r asks for, each target once, parents
// before children. Two explicit mounts of one target are an error; an explicit
// one hides one taken over from another container, and both hide an anonymous
// volume that the image declares. Errors are errdefs.ErrInvalidArgument.
func Points(r Request) ([]Point, error) {
	explicit, err := explicitPoints(r)
	if err != nil {
		return nil, err
	}
	points := map[string]Point{}
	for _, target := range slices.Sorted(maps.Keys(r.Volumes)) {
		p, err := parseVolume(target)
		if err != nil {
			return nil, fmt.Errorf("volume %q of the image or container: %w", target, err)
		}
		points[p.Target] = p
	}
	for _, p := range r.From {
		points[p.Target] = p
	}
	seen := map[string]bool{}
	for _, p := range explicit {
		if seen[p.Target] {
			return nil, fmt.Errorf("Duplicate mount point: %s: %w", p.Target, errdefs.ErrInvalidArgument)
		}
		seen[p.Target] = true
		points[p.Target] = p
	}
	out := slices.Collect(maps.Values(points))
	for i := range out {
		p := &out[i]
		if p.Anonymous && p.Name == "" {
			p.Name = r.Carried[p.Target]
		}
		if p.Type == mount.TypeBind && p.Propagation == "" && r.DataRoot != "" && contains(p.Source, r.DataRoot) {
			p.Propagation = mount.PropagationRSlave
		}
	}
	slices.SortFunc(out, func(a, b Point) int {
		return cmp.Or(cmp.Compare(depth(a.Target), depth(b.Target)), cmp.Compare(a.Target, b.Target))
	})
	return out, nil
}

func explicitPoints(r Request) ([]Point, error) {
	var out []Point
	for _, b := range r.Binds {
		p, err := ParseBind(b)
		if err != nil {
			return nil, err
		}
		if p.Type == mount.TypeVolume && !p.Anonymous {
			p.Driver = r.VolumeDriver
		}
		out = append(out, p)
	}
	for _, m := range r.Mounts {
		p, err := fromMount(m)
		if err != nil {
			return nil, fmt.Errorf("mount at %q: %w", m.Target, err)
		}
		out = append(out, p)
	}
	for _, target := range slices.Sorted(maps.Keys(r.Tmpfs)) {
		p, err := parseTmpfs(target, r.Tmpfs[target])
		if err != nil {
			return nil, fmt.Errorf("tmpfs at %q: %w", target, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func depth(target string) int { return strings.Count(target, "/") }

// contains tells whether path is dir or below it.
func contains(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// cleanTarget checks a mount's place in the container.
func cleanTarget(target string) (string, error) {
	switch {
	case target == "":
		return "", fmt.Errorf("no target: %w", errdefs.ErrInvalidArgument)
	case !path.IsAbs(target):
		return "", fmt.Errorf("target %q is not an absolute path: %w", target, errdefs.ErrInvalidArgument)
	case strings.ContainsRune(target, 0):
		return "", fmt.Errorf("target %q contains a NUL: %w", target, errdefs.ErrInvalidArgument)
	}
	clean := path.Clean(target)
	if clean == "/" {
		return "", fmt.Errorf("target %q is the container's root: %w", target, errdefs.ErrInvalidArgument)
	}
	return clean, nil
}

// Volume is what Store.Create makes for p, a point of type volume.
func (p Point) Volume() Volume {
	return Volume{Name: p.Name, Driver: p.Driver, Options: p.Options, Labels: p.Labels, Anonymous: p.Anonymous}
}

// MountOptions are the options with which an OCI runtime mounts p.
func (p Point) MountOptions() []string {
	if p.Type == mount.TypeTmpfs {
		opts := append([]string{"noexec", "nosuid", "nodev"}, p.Tmpfs...)
		if !p.RW {
			opts = append(opts, "ro")
		}
		return opts
	}
	opts := []string{"rbind"}
	if p.NonRecursive {
		opts[0] = "bind"
	}
	opts = append(opts, string(cmp.Or(p.Propagation, mount.PropagationRPrivate)))
	switch {
	case p.RW:
	case p.NonRecursive, p.ReadOnlyNonRecursive:
		opts = append(opts, "ro")
	default:
		opts = append(opts, "rro")
	}
	return opts
}

// MountType is the type that an OCI runtime mounts p as.
func (p Point) MountType() string {
	if p.Type == mount.TypeTmpfs {
		return "tmpfs"
	}
	return "bind"
}

// MountPoint is how inspect shows p.
func (p Point) MountPoint() container.MountPoint {
	m := container.MountPoint{
		Type:        p.Type,
		Name:        p.Name,
		Source:      p.Source,
		Destination: p.Target,
		Mode:        p.Mode,
		RW:          p.RW,
	}
	switch p.Type {
	case mount.TypeVolume:
		m.Driver = cmp.Or(p.Driver, LocalDriver)
		m.Propagation = p.Propagation
	case mount.TypeImage:
		m.Source = p.Image
	case mount.TypeBind:
		m.Propagation = cmp.Or(p.Propagation, mount.PropagationRPrivate)
	}
	return m
}
