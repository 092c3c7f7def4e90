// Package memory is a runtime that exists in memory only: a scheduler.Driver
// for tests. It obeys the rules that a real runtime obeys and refuses what that
// would refuse.
//
//	            Create         Start            exit, Stop, Kill
//	(nothing) ──────▶ created ──────▶ running ──────────────────▶ exited
//	                                  │     ▲                       │
//	                            Pause ▼     │ Unpause     Start     │
//	                                  paused          ◀─────────────┘
//
// A container does what its command says: "true" ends with 0, "false" with 1,
// anything else runs on. Its health check does likewise: CMD true makes it
// healthy and CMD false unhealthy as soon as it runs; any other keeps it
// starting until Edit says otherwise.
package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// Driver is the runtime. The zero value is not usable; see New.
type Driver struct {
	// Fault, when set, is asked at every action: an error from before keeps the
	// action from happening, one from after is returned although it happened.
	Fault func(a scheduler.Action) (before, after error)

	mu         sync.Mutex
	changed    chan struct{} // closed at every change, then renewed
	containers map[string]*ctr
	networks   map[string]*scheduler.Network
	volumes    map[string]*scheduler.Volume
	images     map[string]scheduler.Image // by reference, present ones
	registry   map[string]scheduler.Image // by reference
	sources    map[string]scheduler.Image // what builds make, by reference
	busy       map[scheduler.HostPort]string
	missing    map[string]bool
	journal    []scheduler.Action
	made       int // counts networks, for their IDs
	now        time.Time
}

var _ scheduler.Driver = (*Driver)(nil)

// ctr is a container: what is observed of it, and what it was created with.
type ctr struct {
	scheduler.Container
	create scheduler.CreateContainer
	mounts map[string]string // target to volume name
}

// New returns an empty runtime.
func New() *Driver {
	return &Driver{
		changed:    make(chan struct{}),
		containers: make(map[string]*ctr),
		networks:   make(map[string]*scheduler.Network),
		volumes:    make(map[string]*scheduler.Volume),
		images:     make(map[string]scheduler.Image),
		registry:   make(map[string]scheduler.Image),
		sources:    make(map[string]scheduler.Image),
		busy:       make(map[scheduler.HostPort]string),
		missing:    make(map[string]bool),
	}
}

// Clone returns a copy that changes on its own.
func (d *Driver) Clone() *Driver {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New()
	for id, x := range d.containers {
		y := *x
		y.Networks, y.Anonymous, y.mounts = maps.Clone(x.Networks), maps.Clone(x.Anonymous), maps.Clone(x.mounts)
		c.containers[id] = &y
	}
	for name, x := range d.networks {
		y := *x
		c.networks[name] = &y
	}
	for name, x := range d.volumes {
		y := *x
		c.volumes[name] = &y
	}
	c.images, c.registry, c.sources = maps.Clone(d.images), maps.Clone(d.registry), maps.Clone(d.sources)
	c.busy, c.missing = maps.Clone(d.busy), maps.Clone(d.missing)
	c.made, c.now = d.made, d.now
	return c
}

// Load makes an image present.
func (d *Driver) Load(ref string, image scheduler.Image) {
	d.change(func() { d.images[ref] = image })
}

// Publish puts an image into the registry.
func (d *Driver) Publish(ref string, image scheduler.Image) {
	d.change(func() { d.registry[ref] = image })
}

// Source decides what a build of ref makes from now on.
func (d *Driver) Source(ref string, image scheduler.Image) {
	d.change(func() { d.sources[ref] = image })
}

// Occupy has somebody else hold a port.
func (d *Driver) Occupy(p scheduler.HostPort, by string) { d.change(func() { d.busy[p] = by }) }

// Miss makes a bind source not exist.
func (d *Driver) Miss(path string) { d.change(func() { d.missing[path] = true }) }

// Edit changes a container from outside: its process ends, its health turns.
func (d *Driver) Edit(name string, edit func(*scheduler.Container)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.containers {
		if c.Name == name || c.ID == name {
			edit(&c.Container)
			d.wake()
			return nil
		}
	}
	return fmt.Errorf("container %q: %w", name, errdefs.ErrNotFound)
}

// Journal is every action that happened, in order.
func (d *Driver) Journal() []scheduler.Action {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.journal)
}

func (d *Driver) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	d.wake()
}

func (d *Driver) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Apply implements scheduler.Driver.
func (d *Driver) Apply(ctx context.Context, a scheduler.Action, report func(scheduler.Progress)) error {
	var before, after error
	if d.Fault != nil {
		before, after = d.Fault(a)
	}
	if before != nil {
		return before
	}
	if w, ok := a.(scheduler.WaitContainer); ok {
		if err := d.wait(ctx, w); err != nil {
			return err
		}
		return after
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.apply(a); err != nil {
		return err
	}
	d.journal = append(d.journal, a)
	d.wake()
	if report != nil {
		report(scheduler.Progress{Text: "done"})
	}
	return after
}

func (d *Driver) apply(a scheduler.Action) error {
	switch a := a.(type) {
	case scheduler.PullImage:
		return d.pull(a)
	case scheduler.BuildImage:
		return d.build(a)
	case scheduler.RemoveImage:
		delete(d.images, a.Ref)
		return nil
	case scheduler.CreateNetwork:
		return d.createNetwork(a)
	case scheduler.RemoveNetwork:
		return d.removeNetwork(a)
	case scheduler.CreateVolume:
		if _, ok := d.volumes[a.Name]; ok {
			return fmt.Errorf("volume %q: %w", a.Name, errdefs.ErrAlreadyExists)
		}
		d.volumes[a.Name] = &scheduler.Volume{Name: a.Name, Project: a.Labels[project.LabelProject], Key: a.Labels[project.LabelVolume], Hash: a.Labels[project.LabelHash]}
		return nil
	case scheduler.RemoveVolume:
		return d.removeVolume(a.Name)
	case scheduler.CreateContainer:
		return d.create(a)
	case scheduler.RenameContainer:
		return d.rename(a)
	case scheduler.StartContainer:
		return d.with(a.ID, func(c *ctr) error { return d.startOwing(c, a.Owes) })
	case scheduler.StopContainer:
		return d.with(a.ID, func(c *ctr) error { return stop(c, 0) })
	case scheduler.KillContainer:
		return d.with(a.ID, func(c *ctr) error {
			if !runs(c) {
				return fmt.Errorf("container %q does not run: %w", c.Name, errdefs.ErrFailedPrecondition)
			}
			return stop(c, 137)
		})
	case scheduler.RestartContainer:
		return d.with(a.ID, func(c *ctr) error {
			if err := stop(c, 0); err != nil {
				return err
			}
			return d.startOwing(c, a.Owes)
		})
	case scheduler.RunHook:
		return d.with(a.ID, func(c *ctr) error { return hook(c, a) })
	case scheduler.PauseContainer:
		return d.with(a.ID, func(c *ctr) error { return turn(c, container.StateRunning, container.StatePaused) })
	case scheduler.UnpauseContainer:
		return d.with(a.ID, func(c *ctr) error { return turn(c, container.StatePaused, container.StateRunning) })
	case scheduler.RemoveContainer:
		return d.remove(a)
	}
	return fmt.Errorf("action %T: %w", a, errdefs.ErrNotImplemented)
}

func (d *Driver) createNetwork(a scheduler.CreateNetwork) error {
	if _, ok := d.networks[a.Name]; ok {
		return fmt.Errorf("network %q: %w", a.Name, errdefs.ErrAlreadyExists)
	}
	d.made++
	labels := a.Create.Labels
	d.networks[a.Name] = &scheduler.Network{
		ID: digest("network", a.Name, strconv.Itoa(d.made)), Name: a.Name,
		Project: labels[project.LabelProject], Key: labels[project.LabelNetwork], Hash: labels[project.LabelHash],
		Internal: a.Create.Internal,
	}
	return nil
}

func (d *Driver) removeNetwork(a scheduler.RemoveNetwork) error {
	n := d.networks[a.Name]
	if n == nil {
		return fmt.Errorf("network %q: %w", a.Name, errdefs.ErrNotFound)
	}
	for _, c := range d.containers {
		if c.Networks[a.Name] == n.ID && runs(c) {
			return fmt.Errorf("network %q is in use by container %q: %w", a.Name, c.Name, errdefs.ErrFailedPrecondition)
		}
	}
	for _, c := range d.containers {
		if c.Networks[a.Name] == n.ID {
			c.Networks[a.Name] = "" // until it starts
		}
	}
	delete(d.networks, a.Name)
	return nil
}

func (d *Driver) removeVolume(name string) error {
	if _, ok := d.volumes[name]; !ok {
		return fmt.Errorf("volume %q: %w", name, errdefs.ErrNotFound)
	}
	if users := d.volumeUsers(name); len(users) > 0 {
		return fmt.Errorf("volume %q is in use by %v: %w", name, users, errdefs.ErrFailedPrecondition)
	}
	delete(d.volumes, name)
	return nil
}

func (d *Driver) create(a scheduler.CreateContainer) error {
	image, ok := d.images[a.Image]
	if !ok {
		return fmt.Errorf("image %q: %w", a.Image, errdefs.ErrNotFound)
	}
	if _, ok := d.containers[a.ID]; ok || d.named(a.Name) != nil {
		return fmt.Errorf("container %q: %w", a.Name, errdefs.ErrAlreadyExists)
	}
	labels := a.Config.Labels
	c := &ctr{create: a, mounts: make(map[string]string)}
	c.Container = scheduler.Container{
		ID: a.ID, Name: a.Name, Service: a.Service, Number: a.Number,
		Project: labels[project.LabelProject], OneOff: labels[project.LabelOneOff] == "True",
		Hash: labels[project.LabelHash], DependsOn: labels[project.LabelDependsOn],
		ImageRef: a.Image, ImageID: image.ID, Status: container.StateCreated,
		Networks: make(map[string]string), Anonymous: make(map[string]string), Config: a.Config,
		NetworkMode: string(a.Host.NetworkMode), PidMode: string(a.Host.PidMode), IpcMode: string(a.Host.IpcMode),
		VolumesFrom: a.Host.VolumesFrom, Files: make(map[string]string),
	}
	for _, f := range a.Files {
		if f.Withheld {
			return fmt.Errorf("%s %q: its content was not sent: %w", f.Kind, f.Name, errdefs.ErrFailedPrecondition)
		}
		c.Files[f.Target] = f.Content.Digest()
	}
	for _, n := range a.Networks {
		network := d.networks[n.Name]
		if network == nil {
			return fmt.Errorf("network %q: %w", n.Name, errdefs.ErrNotFound)
		}
		c.Networks[n.Name] = network.ID
	}
	if err := d.owners(c); err != nil {
		return err
	}
	for _, m := range a.Host.Mounts {
		if m.Type == mount.TypeBind && d.missing[m.Source] && (m.BindOptions == nil || !m.BindOptions.CreateMountpoint) {
			return fmt.Errorf("bind source %q: %w", m.Source, errdefs.ErrNotFound)
		}
		if _, present := d.images[m.Source]; m.Type == mount.TypeImage && !present {
			return fmt.Errorf("image %q to mount: %w", m.Source, errdefs.ErrNotFound)
		}
		if m.Type == mount.TypeVolume && m.Source != "" && d.volumes[m.Source] == nil {
			return fmt.Errorf("volume %q: %w", m.Source, errdefs.ErrNotFound)
		}
	}
	for port, bindings := range a.Host.PortBindings {
		for _, b := range bindings {
			if n, err := strconv.ParseUint(b.HostPort, 10, 16); err == nil && n > 0 {
				p := scheduler.HostPort{Port: uint16(n), Protocol: string(port.Proto())}
				if b.HostIP.IsValid() {
					p.IP = b.HostIP.String()
				}
				c.Ports = append(c.Ports, p)
			}
		}
	}
	d.mountAll(c, image)
	d.containers[a.ID] = c
	return nil
}

// mountAll gives the container its volumes: named ones, anonymous ones that it
// takes over, and new anonymous ones.
func (d *Driver) mountAll(c *ctr, image scheduler.Image) {
	anonymous := slices.Concat(slices.Collect(maps.Keys(c.Config.Volumes)), image.Volumes)
	for _, m := range c.create.Host.Mounts {
		switch {
		case m.Type == mount.TypeVolume && m.Source == "":
			anonymous = append(anonymous, m.Target)
		case m.Type == mount.TypeVolume:
			c.mounts[m.Target] = m.Source
		default:
			c.mounts[m.Target] = ""
		}
	}
	slices.Sort(anonymous)
	for _, target := range anonymous {
		if _, mounted := c.mounts[target]; mounted {
			continue
		}
		name := c.create.Volumes[target]
		if name == "" {
			name = digest("volume", c.ID, target)
		}
		if d.volumes[name] == nil {
			d.volumes[name] = &scheduler.Volume{Name: name, Anonymous: true}
		}
		c.mounts[target], c.Anonymous[target] = name, name
	}
}

func (d *Driver) rename(a scheduler.RenameContainer) error {
	return d.with(a.ID, func(c *ctr) error {
		if other := d.named(a.To); other != nil && other != c {
			return fmt.Errorf("container name %q: %w", a.To, errdefs.ErrAlreadyExists)
		}
		c.Name = a.To
		return nil
	})
}

func (d *Driver) remove(a scheduler.RemoveContainer) error {
	return d.with(a.ID, func(c *ctr) error {
		if runs(c) && !a.Force {
			return fmt.Errorf("container %q runs: %w", c.Name, errdefs.ErrFailedPrecondition)
		}
		delete(d.containers, a.ID)
		if a.Volumes {
			for _, name := range c.Anonymous {
				if len(d.volumeUsers(name)) == 0 {
					delete(d.volumes, name)
				}
			}
		}
		return nil
	})
}

func (d *Driver) with(id string, f func(*ctr) error) error {
	c := d.containers[id]
	if c == nil {
		return fmt.Errorf("container %q: %w", id, errdefs.ErrNotFound)
	}
	return f(c)
}

func (d *Driver) named(name string) *ctr {
	for _, c := range d.containers {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (d *Driver) volumeUsers(name string) []string {
	var users []string
	for id, c := range d.containers {
		for _, v := range c.mounts {
			if v == name {
				users = append(users, id)
				break
			}
		}
	}
	slices.Sort(users)
	return users
}

// hook does what the command says, as a container does.
func hook(c *ctr, a scheduler.RunHook) error {
	if c.Status != container.StateRunning {
		if a.When == project.PreStop {
			return nil
		}
		return fmt.Errorf("container %q does not run: %w", c.Name, errdefs.ErrConflict)
	}
	if a.Hook.Command[0] == "false" {
		return fmt.Errorf("%s of container %q: exit code 1: %w", a.When, c.Name, errdefs.ErrFailedPrecondition)
	}
	if a.When == project.PostStart {
		c.Owes = a.Owes
	}
	return nil
}

func runs(c *ctr) bool {
	return c.Status == container.StateRunning || c.Status == container.StatePaused || c.Status == container.StateRestarting
}

func digest(parts ...string) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(h[:])
}
