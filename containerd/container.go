package containerd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/hashicorp/go-multierror"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// sandboxID names a record that stands for no sandbox: containerd lets a
	// container join a running shim only if it names an existing one.
	sandboxID = "gantry"
	// labelGroup holds the name of a container's group, see ContainerSpec.
	labelGroup = "gantry/group"
	// recordURL is the type of ContainerSpec.Record and the name of the extension.
	recordURL = "gantry/record"
)

// ContainerSpec describes a container whose root has been prepared.
type ContainerSpec struct {
	ID    string
	Image string // as the container was asked for; only recorded
	// Group names the containers that share one shim, such as a project. Those
	// without a group share shims in small groups.
	Group  string
	Spec   *specs.Spec
	Labels map[string]string // at most 4096 bytes each, key and value together
	Record []byte            // the caller's own description of the container
}

// Container is a container that exists.
type Container struct {
	ID, Image string
	Group     string // whose shim it shares
	Labels    map[string]string
	Record    []byte
	CreatedAt time.Time
}

// CreateContainer turns a prepared root into a container. ErrAlreadyExists
// when there is one of that ID.
func (r *Runtime) CreateContainer(ctx context.Context, s ContainerSpec) error {
	ctx = r.with(ctx)
	spec, err := typeurl.MarshalAny(s.Spec)
	if err != nil {
		return fmt.Errorf("container %q: runtime spec: %w", s.ID, err)
	}
	opts, err := typeurl.MarshalAny(r.runcOptions())
	if err != nil {
		return fmt.Errorf("container %q: runtime options: %w", s.ID, err)
	}
	labels := map[string]string{}
	for k, v := range s.Labels {
		labels[k] = v
	}
	c := containers.Container{
		ID:          s.ID,
		Image:       s.Image,
		Labels:      labels,
		Runtime:     containers.RuntimeInfo{Name: r.shim, Options: opts},
		Spec:        spec,
		Snapshotter: r.snapshotter,
		SnapshotKey: s.ID,
		Extensions:  map[string]typeurl.Any{recordURL: record(s.Record)},
	}
	if labels[labelGroup] = s.Group; s.Group == "" {
		labels[labelGroup] = r.groups.lone(s.ID)
	}
	c.SandboxID = sandboxID
	if _, err := r.client.ContainerService().Create(ctx, c); err != nil {
		if !errdefs.IsAlreadyExists(err) {
			r.groups.forget(s.ID)
		}
		return fmt.Errorf("container %q: %w", s.ID, err)
	}
	r.groups.of(s.ID, s.Group)
	return nil
}

func record(b []byte) typeurl.Any { return &types.Any{TypeUrl: recordURL, Value: b} }

// Containers lists all containers, sorted by ID.
func (r *Runtime) Containers(ctx context.Context) ([]Container, error) {
	list, err := r.client.ContainerService().List(r.with(ctx))
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	out := make([]Container, 0, len(list))
	for _, c := range list {
		out = append(out, container(c))
	}
	slices.SortFunc(out, func(a, b Container) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// Container returns one container. ErrNotFound.
func (r *Runtime) Container(ctx context.Context, id string) (Container, error) {
	c, err := r.client.ContainerService().Get(r.with(ctx), id)
	if err != nil {
		return Container{}, fmt.Errorf("container %q: %w", id, err)
	}
	return container(c), nil
}

func container(c containers.Container) Container {
	out := Container{ID: c.ID, Image: c.Image, Group: c.Labels[labelGroup], Labels: map[string]string{}, CreatedAt: c.CreatedAt}
	for k, v := range c.Labels {
		if k != labelGroup {
			out.Labels[k] = v
		}
	}
	if ext := c.Extensions[recordURL]; ext != nil {
		out.Record = ext.GetValue()
	}
	return out
}

// UpdateRecord replaces the caller's own description of a container.
func (r *Runtime) UpdateRecord(ctx context.Context, id string, rec []byte) error {
	c := containers.Container{ID: id, Extensions: map[string]typeurl.Any{recordURL: record(rec)}}
	if _, err := r.client.ContainerService().Update(r.with(ctx), c, "extensions."+recordURL); err != nil {
		return fmt.Errorf("record of container %q: %w", id, err)
	}
	return nil
}

// UpdateSpec replaces the runtime spec that the container's next task gets.
func (r *Runtime) UpdateSpec(ctx context.Context, id string, spec *specs.Spec) error {
	b, err := typeurl.MarshalAny(spec)
	if err != nil {
		return fmt.Errorf("runtime spec of container %q: %w", id, err)
	}
	if _, err := r.client.ContainerService().Update(r.with(ctx), containers.Container{ID: id, Spec: b}, "spec"); err != nil {
		return fmt.Errorf("runtime spec of container %q: %w", id, err)
	}
	return nil
}

// DeleteContainer removes a container, its file system and its exit record. It
// is no error if some or all of it is gone. ErrFailedPrecondition while the
// container has a task.
func (r *Runtime) DeleteContainer(ctx context.Context, id string) error {
	ctx = r.with(ctx)
	if _, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id}); err == nil {
		return fmt.Errorf("container %q has a task, which must be deleted first: %w", id, errdefs.ErrFailedPrecondition)
	}
	var errs *multierror.Error
	if err := r.client.ContainerService().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		// The record needs its snapshot: try again rather than break it.
		return fmt.Errorf("removing container %q: %w", id, err)
	}
	errs = multierror.Append(errs, r.removeSnapshot(ctx, id), r.RemoveExitRecord(id))
	r.groups.forget(id)
	return errs.ErrorOrNil()
}
