package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// listed is a container at the moment of listing.
type listed struct {
	c   *ctr
	rec record
	st  state
}

// ListContainers returns the containers that options select, newest first.
func (e *Engine) ListContainers(ctx context.Context, opts ListOptions) ([]container.Summary, error) {
	fits, err := e.containerFilter(ctx, opts.Filters)
	if err != nil {
		return nil, err
	}
	all := opts.All || opts.Limit > 0 || len(opts.Filters["status"]) > 0
	var found []listed
	for _, c := range e.all() {
		c.mu.Lock()
		l, gone := listed{c, c.rec, c.st}, c.gone
		c.mu.Unlock()
		if !gone && (all || l.st.alive() || l.st.Status == container.StateRestarting) && fits(&l.rec, &l.st) {
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b listed) int { return b.rec.Created.Compare(a.rec.Created) })
	if opts.Limit > 0 && len(found) > opts.Limit {
		found = found[:opts.Limit]
	}
	now := time.Now()
	out := make([]container.Summary, 0, len(found))
	seen := map[[2]string]shownImage{} // many containers have one image, and looking for one that is gone is dear
	for i := range found {
		l := &found[i]
		s := e.summary(l.c, &l.rec, &l.st, now)
		key := [2]string{l.rec.Config.Image, l.rec.ImageID}
		img, ok := seen[key]
		if !ok {
			img = e.imageOf(ctx, &l.rec)
			seen[key] = img
		}
		if s.Image = img.name; img.descriptor != nil {
			s.ImageManifestDescriptor = img.descriptor
		}
		if opts.Size {
			if s.SizeRw, s.SizeRootFs, err = e.sizes(ctx, &l.rec); err != nil && !errdefs.IsNotFound(err) {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// shownImage is what a container's image is called now, and its manifest.
type shownImage struct {
	name       string
	descriptor *ocispec.Descriptor // nil when the image is not here any more
}

// imageOf looks up a container's image. When the name that it was created with
// is another image's now, or nobody's, it is shown by its ID, as Docker does.
func (e *Engine) imageOf(ctx context.Context, rec *record) shownImage {
	out := shownImage{name: rec.Config.Image}
	if named, err := e.rt.Image(ctx, rec.Config.Image); err != nil || !slices.Contains(named.IDs(), rec.ImageID) {
		out.name = rec.ImageID
	}
	if img, err := e.rt.Image(ctx, rec.ImageID); err == nil {
		d := img.Manifest()
		out.descriptor = &d
	}
	return out
}

// sizes are how many bytes a container's own layer takes, and with its image's.
// ErrNotFound when it is being removed.
func (e *Engine) sizes(ctx context.Context, rec *record) (rw, rootFS int64, err error) {
	if rw, err = e.rt.DiskUsage(ctx, rec.ID); err != nil {
		return 0, 0, err
	}
	rootFS = rw
	if img, err := e.rt.Image(ctx, rec.ImageID); err == nil {
		rootFS += img.Unpacked
	}
	return rw, rootFS, nil
}

// SizeContainer tells how many bytes a container's own layer takes, and that
// together with its image's layers.
func (e *Engine) SizeContainer(ctx context.Context, ref string) (rw, rootFS int64, err error) {
	c, err := e.find(ref)
	if err != nil {
		return 0, 0, err
	}
	rec := c.record()
	return e.sizes(ctx, &rec)
}

// commandText is a command as one line; words with blanks are quoted.
func commandText(path string, args []string) string {
	words := []string{path}
	for _, a := range args {
		if strings.Contains(a, " ") {
			a = "'" + a + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func (e *Engine) summary(c *ctr, rec *record, st *state, now time.Time) container.Summary {
	path, args := commandOf(&rec.Config)
	s := container.Summary{
		ID: rec.ID, Names: []string{"/" + rec.Name}, Image: rec.Config.Image, ImageID: rec.ImageID,
		Command: commandText(path, args), Created: rec.Created.Unix(),
		Labels: orEmpty(rec.Config.Labels), State: st.Status, Status: statusText(st, now), Mounts: e.mountPoints(rec),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: e.networkSettings(c, rec, st).Networks},
		Ports:           []container.PortSummary{},
	}
	s.HostConfig.NetworkMode, s.HostConfig.Annotations = string(rec.HostConfig.NetworkMode), rec.HostConfig.Annotations
	s.Health = &container.HealthSummary{Status: container.NoHealthcheck}
	if st.Health != nil {
		s.Health = &container.HealthSummary{Status: st.Health.Status, FailingStreak: st.Health.FailingStreak}
	}
	if st.alive() {
		for p, bindings := range st.Ports {
			for _, b := range bindings {
				var pub uint16
				fmt.Sscan(b.HostPort, &pub)
				s.Ports = append(s.Ports, container.PortSummary{IP: b.HostIP, PrivatePort: p.Num(), PublicPort: pub, Type: string(p.Proto())})
			}
		}
		for p := range rec.Config.ExposedPorts {
			if len(st.Ports[p]) == 0 {
				s.Ports = append(s.Ports, container.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto())})
			}
		}
		slices.SortFunc(s.Ports, func(a, b container.PortSummary) int {
			return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Type, b.Type), a.IP.Compare(b.IP), cmp.Compare(a.PublicPort, b.PublicPort))
		})
	}
	return s
}

// statusText is the state as people read it, in Docker's words.
func statusText(st *state, now time.Time) string {
	ago := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	switch st.Status {
	case container.StateCreated:
		return "Created"
	case container.StateRunning, container.StatePaused:
		s := "Up " + ago(st.StartedAt)
		switch {
		case st.Status == container.StatePaused:
			s += " (Paused)"
		case st.Health != nil && st.Health.Status == container.Starting:
			s += " (health: starting)"
		case st.Health != nil && st.Health.Status != container.NoHealthcheck:
			s += " (" + string(st.Health.Status) + ")"
		}
		return s
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", st.ExitCode, ago(st.FinishedAt))
	case container.StateRemoving:
		return "Removal In Progress"
	case container.StateDead:
		return "Dead"
	}
	return fmt.Sprintf("Exited (%d) %s ago", st.ExitCode, ago(st.FinishedAt))
}
