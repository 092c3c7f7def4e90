package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gantry/scheduler"
	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/volume"
)

var _ scheduler.Driver = (*Engine)(nil)

// Apply carries out one step of a plan. What has been done already, by a run
// that broke off, is success.
func (e *Engine) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	switch a := a.(type) {
	case scheduler.PullImage:
		err := e.PullImage(ctx, a.Ref, a.Platform, credentialsFor(ctx, a.Ref), func(p Progress) {
			report(scheduler.Progress{ID: p.ID, Text: p.Status, Current: p.Current, Total: p.Total})
		})
		if err != nil && a.Optional {
			if _, ierr := e.rt.Image(ctx, a.Ref); ierr == nil {
				report(scheduler.Progress{Text: fmt.Sprintf("the local image is used: %v", err)})
				return nil
			}
		}
		return err
	case scheduler.BuildImage:
		return e.buildImage(ctx, a, report)
	case scheduler.CreateNetwork:
		req := a.Create
		req.Name = a.Name
		_, err := e.CreateNetwork(ctx, req)
		return ignore(err, errdefs.IsAlreadyExists)
	case scheduler.RemoveNetwork:
		return ignore(e.RemoveNetwork(ctx, a.Name), errdefs.IsNotFound)
	case scheduler.CreateVolume:
		_, err := e.CreateVolume(ctx, volume.CreateRequest{Name: a.Name, Driver: a.Driver, DriverOpts: a.DriverOpts, Labels: a.Labels})
		return err
	case scheduler.RemoveVolume:
		return ignore(e.RemoveVolume(ctx, a.Name, false), errdefs.IsNotFound)
	case scheduler.CreateContainer:
		return e.applyCreate(ctx, a)
	case scheduler.RenameContainer:
		c, err := e.find(a.ID)
		if err != nil {
			return err
		}
		return e.rename(ctx, c, a.To)
	case scheduler.StartContainer:
		if err := e.owe(a.ID, a.Owes); err != nil {
			return err
		}
		return ignore(e.StartContainer(ctx, a.ID), errdefs.IsNotModified)
	case scheduler.StopContainer:
		err := e.StopContainer(ctx, a.ID, StopOptions{Timeout: a.Timeout})
		return ignore(ignoreNotFound(err), errdefs.IsNotModified)
	case scheduler.KillContainer:
		return ignore(ignoreNotFound(e.KillContainer(ctx, a.ID, a.Signal)), errdefs.IsFailedPrecondition)
	case scheduler.RestartContainer:
		if err := e.owe(a.ID, a.Owes); err != nil {
			return err
		}
		return e.RestartContainer(ctx, a.ID, StopOptions{Timeout: a.Timeout})
	case scheduler.RunHook:
		return e.runHook(ctx, a)
	case scheduler.PauseContainer:
		return e.PauseContainer(ctx, a.ID)
	case scheduler.UnpauseContainer:
		return e.UnpauseContainer(ctx, a.ID)
	case scheduler.RemoveContainer:
		c, err := e.find(a.ID)
		if err != nil {
			return ignoreNotFound(err)
		}
		return e.remove(ctx, c, RemoveOptions{Force: a.Force, Volumes: a.Volumes})
	case scheduler.RemoveImage:
		_, err := e.RemoveImage(ctx, a.Ref, ImageRemoveOptions{})
		return ignoreNotFound(err)
	case scheduler.WaitContainer:
		return e.waitCondition(ctx, a)
	}
	return fmt.Errorf("action %T: %w", a, errdefs.ErrNotImplemented)
}

func ignore(err error, is func(error) bool) error {
	if err != nil && is(err) {
		return nil
	}
	return err
}

func (e *Engine) applyCreate(ctx context.Context, a scheduler.CreateContainer) error {
	s := creation{ID: a.ID, Name: a.Name, Config: a.Config, HostConfig: a.Host, Image: a.Image, Platform: a.Platform, Carried: a.Volumes, Files: a.Files}
	for _, n := range a.Networks {
		ep := n.Settings
		ep.Aliases = n.Aliases
		s.Networks = append(s.Networks, attachment{Network: n.Name, Settings: ep})
	}
	warnings, err := e.create(ctx, s)
	if err != nil {
		return fmt.Errorf("create container %q: %w", a.Name, err)
	}
	for _, w := range warnings {
		log.G(ctx).Warnf("container %q: %s", a.Name, w)
	}
	return nil
}

// Observe takes one snapshot for a plan, from memory; only images that are not
// here are looked up in their registry, when the query asks so.
func (e *Engine) Observe(ctx context.Context, q scheduler.Query) (*scheduler.State, error) {
	s := &scheduler.State{Networks: map[string]scheduler.Network{}, Volumes: map[string]scheduler.Volume{}, Names: map[string]scheduler.Container{}}
	all := e.observeContainers()
	byName := make(map[string]*scheduler.Container, len(all))
	for i := range all {
		byName[all[i].Name] = &all[i]
		if all[i].Project == q.Project {
			s.Containers = append(s.Containers, all[i])
		}
	}
	for _, name := range q.Containers {
		if c, ok := byName[name]; ok {
			s.Names[name] = *c
		} else if c, err := e.find(name); err == nil {
			s.Names[name] = *byName[c.name()]
		}
	}
	if err := e.observeNetworks(ctx, q, s); err != nil {
		return nil, err
	}
	if err := e.observeVolumes(ctx, q, s); err != nil {
		return nil, err
	}
	var err error
	if s.Images, err = e.observeImages(ctx, q.Images); err != nil {
		return nil, err
	}
	s.Busy = e.busyPorts(q)
	s.Missing = missingBinds(q.Binds)
	return s, nil
}

func (e *Engine) observeContainers() []scheduler.Container {
	cs := e.all()
	out := make([]scheduler.Container, 0, len(cs))
	for _, c := range cs {
		c.mu.Lock()
		rec, st, gone := c.rec, c.st, c.gone
		c.mu.Unlock()
		if !gone {
			o := observed(&rec, &st)
			o.Files = givenDigests(c.dir, &rec)
			out = append(out, o)
		}
	}
	return out
}

// observed is a container as the scheduler sees it.
func observed(rec *record, st *state) scheduler.Container {
	l := rec.Config.Labels
	o := scheduler.Container{
		ID: rec.ID, Name: rec.Name, Project: l[labelProject], Service: l[labelService], OneOff: strings.EqualFold(l[labelOneOff], "true"),
		Hash: l[labelHash], DependsOn: l[labelDependsOn], ImageRef: rec.Image, ImageID: rec.ImageID, Status: st.Status, ExitCode: st.ExitCode,
		Networks: map[string]string{}, Anonymous: map[string]string{}, Config: rec.Config,
		NetworkMode: string(rec.HostConfig.NetworkMode), PidMode: string(rec.HostConfig.PidMode), IpcMode: string(rec.HostConfig.IpcMode),
		VolumesFrom: rec.HostConfig.VolumesFrom, Owes: st.Owes,
	}
	fmt.Sscan(l[labelNumber], &o.Number)
	if st.Health != nil {
		o.Health = st.Health.Status
	}
	for _, a := range rec.Networks {
		id := ""
		if ep := st.Endpoints[a.Network]; ep != nil {
			id = ep.NetworkID
		}
		o.Networks[a.Network] = id
	}
	for i := range rec.Mounts {
		if m := &rec.Mounts[i]; m.Anonymous {
			o.Anonymous[m.Target] = m.Name
		}
	}
	o.Ports = fixedPorts(rec.HostConfig.PortBindings)
	return o
}

func (e *Engine) observeNetworks(ctx context.Context, q scheduler.Query, s *scheduler.State) error {
	nets, err := e.ListNetworks(ctx, nil)
	if err != nil {
		return err
	}
	asked := set(q.Networks)
	for _, n := range nets {
		if n.Labels[labelProject] != q.Project && !asked[n.Name] {
			continue
		}
		s.Networks[n.Name] = scheduler.Network{ID: n.ID, Name: n.Name, Project: n.Labels[labelProject], Key: n.Labels[labelNetwork],
			Hash: n.Labels[labelHash], Internal: n.Internal, IPAM: n.IPAM, Users: e.networkUsers(n.Name)}
	}
	return nil
}

func (e *Engine) observeVolumes(ctx context.Context, q scheduler.Query, s *scheduler.State) error {
	vols, err := e.ListVolumes(ctx, nil)
	if err != nil {
		return err
	}
	asked, users := set(q.Volumes), e.volumeUsers()
	for _, v := range vols {
		own := v.Labels[labelProject] == q.Project
		for _, id := range users[v.Name] {
			own = own || e.projectOf(id) == q.Project
		}
		if !own && !asked[v.Name] {
			continue
		}
		_, anonymous := v.Labels[labelAnonymous]
		s.Volumes[v.Name] = scheduler.Volume{Name: v.Name, Project: v.Labels[labelProject], Key: v.Labels[labelVolume], Hash: v.Labels[labelHash], Anonymous: anonymous, Users: users[v.Name]}
	}
	return nil
}

func set(names []string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// projectOf is the project of a container, "" without one.
func (e *Engine) projectOf(id string) string {
	c, err := e.find(id)
	if err != nil {
		return ""
	}
	return c.record().Config.Labels[labelProject]
}

// networkUsers returns the containers attached to a network, sorted.
func (e *Engine) networkUsers(name string) []string {
	var out []string
	for _, c := range e.all() {
		for _, a := range c.record().Networks {
			if a.Network == name {
				out = append(out, c.id)
			}
		}
	}
	return out
}

// volumeUsers maps volumes to the containers that mount them, sorted, those
// that are being made included.
func (e *Engine) volumeUsers() map[string][]string {
	e.mu.RLock()
	mounts := make(map[string][]volumes.Point, len(e.containers)+len(e.mounting))
	for id, rec := range e.mounting {
		mounts[id] = rec.Mounts
	}
	e.mu.RUnlock()
	for _, c := range e.all() {
		mounts[c.id] = c.record().Mounts
	}
	out := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(mounts)) {
		for i := range mounts[id] {
			if name := mounts[id][i].Name; name != "" {
				out[name] = append(out[name], id)
			}
		}
	}
	return out
}

// holdVolumes keeps the volumes of a container that is being made from being
// removed, until release: they are there before the container is.
func (e *Engine) holdVolumes(rec *record) (release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mounting[rec.ID] = rec
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.mounting, rec.ID)
	}
}
