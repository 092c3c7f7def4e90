package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gantry/scheduler"

	"github.com/containerd/errdefs"
)

// Observe implements scheduler.Driver.
func (d *Driver) Observe(_ context.Context, q scheduler.Query) (*scheduler.State, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &scheduler.State{
		Networks: make(map[string]scheduler.Network),
		Volumes:  make(map[string]scheduler.Volume),
		Images:   make(map[string]scheduler.Image),
		Busy:     make(map[scheduler.HostPort]string),
		Names:    make(map[string]scheduler.Container),
	}
	for _, c := range d.containers {
		if c.Project == q.Project {
			s.Containers = append(s.Containers, c.observed())
		}
		for _, asked := range []string{c.Name, c.ID} {
			if slices.Contains(q.Containers, asked) {
				s.Names[asked] = c.observed()
			}
		}
	}
	slices.SortFunc(s.Containers, func(a, b scheduler.Container) int { return strings.Compare(a.ID, b.ID) })
	for name, n := range d.networks {
		if n.Project == q.Project || slices.Contains(q.Networks, name) {
			seen := *n
			for id, c := range d.containers {
				if c.Networks[name] == n.ID {
					seen.Users = append(seen.Users, id)
				}
			}
			slices.Sort(seen.Users)
			s.Networks[name] = seen
		}
	}
	for name, v := range d.volumes {
		if v.Project == q.Project || slices.Contains(q.Volumes, name) {
			seen := *v
			seen.Users = d.volumeUsers(name)
			s.Volumes[name] = seen
		}
	}
	for _, i := range q.Images {
		s.Images[i.Key()] = d.image(i)
	}
	for _, p := range q.Ports {
		if by, ok := d.portHolder(p, q.Project); ok {
			s.Busy[p] = by
		}
	}
	for _, path := range q.Binds {
		if d.missing[path] {
			s.Missing = append(s.Missing, path)
		}
	}
	return s, nil
}

// image is what is known of an image, the registry asked as the query says.
func (d *Driver) image(q scheduler.ImageQuery) scheduler.Image {
	image := d.images[q.Ref]
	if image.ID != "" && (q.Stale.IsZero() || !image.Pulled.Before(q.Stale)) || image.ID == "" && !q.Remote {
		return image
	}
	remote, ok := d.registry[q.Ref]
	switch {
	case !ok:
		image.Err = fmt.Errorf("image %q is not in the registry: %w", q.Ref, errdefs.ErrNotFound)
	case image.ID != "":
		image.Remote = remote.ID
	}
	return image
}

// portHolder is who else has a port.
func (d *Driver) portHolder(p scheduler.HostPort, project string) (string, bool) {
	if by, busy := d.busy[p]; busy {
		return by, true
	}
	for _, c := range d.containers {
		if c.Project != project && runs(c) && slices.Contains(c.Ports, p) {
			return "container " + c.Name, true
		}
	}
	return "", false
}

// observed is a copy that the runtime does not change any more.
func (c *ctr) observed() scheduler.Container {
	seen := c.Container
	seen.Networks, seen.Anonymous, seen.Ports = maps.Clone(c.Networks), maps.Clone(c.Anonymous), slices.Clone(c.Ports)
	return seen
}
