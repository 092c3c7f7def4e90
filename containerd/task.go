package containerd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// callTimeout bounds every call to a shim: what takes longer hangs.
const callTimeout = time.Minute

// TaskOptions describes the process to be of a container.
type TaskOptions struct {
	ContainerID           string
	Stdin, Stdout, Stderr string // URIs that the shim understands, "" for nothing
	Terminal              bool
}

// Status is what a task does.
type Status string

// The states of a task.
const (
	Created Status = "created"
	Running Status = "running"
	Paused  Status = "paused"
	Stopped Status = "stopped"
	Unknown Status = "unknown" // its shim does not answer
)

// Task is a container's process.
type Task struct {
	ContainerID string
	Pid         int
	Status      Status
	Code        int       // once stopped
	ExitedAt    time.Time // once stopped
}

// CreateTask makes a container's process, up to the point where it would
// execute its program, and returns its pid. The first task of a group starts
// the shim, the others join it. ErrAlreadyExists while the container has a
// task, ErrUnavailable when the shim ended meanwhile.
func (r *Runtime) CreateTask(ctx context.Context, o TaskOptions) (int, error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	g, err := r.groupOf(ctx, o.ContainerID)
	if err != nil {
		return 0, err
	}
	req, err := r.createRequest(ctx, o)
	if err != nil {
		return 0, err
	}
	if err := r.RemoveExitRecord(o.ContainerID); err != nil {
		return 0, err
	}
	done, err := g.operate(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	in, err := g.join(ctx)
	if err != nil {
		return 0, err
	}
	started := in == nil
	// containerd starts a shim rather than joining one if what it would join
	// speaks a version before 3.
	req.TaskApiAddress, req.TaskApiVersion = "ttrpc+unix://", 0
	if !started {
		req.TaskApiAddress, req.TaskApiVersion = in.address(), 3
	}
	r.endings.expect(o.ContainerID)
	pid, err := r.create(ctx, req)
	if err != nil {
		r.endings.told(o.ContainerID)
		if !started && !in.alive() {
			err = fmt.Errorf("%w: the shim of group %q ended: %w", err, g.name, errdefs.ErrUnavailable)
		}
		g.created(o.ContainerID, nil, started)
		if started {
			r.dropShim(ctx, o.ContainerID)
		}
		return 0, err
	}
	if started {
		in = r.startedShim(ctx, o.ContainerID)
	}
	g.created(o.ContainerID, in, started)
	return pid, nil
}

func (r *Runtime) create(ctx context.Context, req *tasks.CreateTaskRequest) (int, error) {
	resp, err := r.client.TaskService().Create(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("task of container %.12q: %w", req.ContainerID, plainly(errgrpc.ToNative(err)))
	}
	return int(resp.Pid), nil
}

func (r *Runtime) createRequest(ctx context.Context, o TaskOptions) (*tasks.CreateTaskRequest, error) {
	mounts, err := r.snapshots().Mounts(ctx, o.ContainerID)
	if err != nil {
		return nil, fmt.Errorf("file system of container %q: %w", o.ContainerID, err)
	}
	opts, err := typeurl.MarshalAnyToProto(r.runcOptions())
	if err != nil {
		return nil, err
	}
	req := &tasks.CreateTaskRequest{
		ContainerID: o.ContainerID,
		Stdin:       o.Stdin,
		Stdout:      o.Stdout,
		Stderr:      o.Stderr,
		Terminal:    o.Terminal,
		// Of today, not of when the container was made: paths may have moved.
		Options:     opts,
		RuntimePath: r.shim,
	}
	for _, m := range mounts {
		req.Rootfs = append(req.Rootfs, &types.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	return req, nil
}

// call gives a call its namespace and its bound.
func (r *Runtime) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.with(ctx), callTimeout)
}

// operation is a call that makes a container's shim do something.
func (r *Runtime) operation(ctx context.Context, id, what string, f func(ctx context.Context) error) error {
	ctx, cancel := r.call(ctx)
	defer cancel()
	g, err := r.groupOf(ctx, id)
	if err != nil {
		return err
	}
	done, err := g.operate(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := f(ctx); err != nil {
		return fmt.Errorf("%s container %.12s: %w", what, id, plainly(errgrpc.ToNative(err)))
	}
	return nil
}

// StartTask lets a created task run.
func (r *Runtime) StartTask(ctx context.Context, id string) error {
	return r.operation(ctx, id, "starting", func(ctx context.Context) error {
		_, err := r.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: id})
		return err
	})
}

// Kill sends a signal to a container's process, to one of its execs, or to all
// processes of the container. ErrNotFound when it has ended.
func (r *Runtime) Kill(ctx context.Context, id, execID string, sig unix.Signal, all bool) error {
	err := r.operation(ctx, id, "sending "+unix.SignalName(sig)+" to", func(ctx context.Context) error {
		_, err := r.client.TaskService().Kill(ctx, &tasks.KillRequest{ContainerID: id, ExecID: execID, Signal: uint32(sig), All: all})
		return err
	})
	if err != nil && strings.Contains(err.Error(), ttrpc.ErrClosed.Error()) {
		// the shim has just gone, and its processes before it
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	}
	return err
}

// Pause freezes all processes of a container.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	return r.operation(ctx, id, "pausing", func(ctx context.Context) error {
		_, err := r.client.TaskService().Pause(ctx, &tasks.PauseTaskRequest{ContainerID: id})
		return err
	})
}

// Resume thaws them.
func (r *Runtime) Resume(ctx context.Context, id string) error {
	return r.operation(ctx, id, "resuming", func(ctx context.Context) error {
		_, err := r.client.TaskService().Resume(ctx, &tasks.ResumeTaskRequest{ContainerID: id})
		return err
	})
}

// Update changes the limits of a running container.
func (r *Runtime) Update(ctx context.Context, id string, res *specs.LinuxResources) error {
	return r.operation(ctx, id, "updating", func(ctx context.Context) error {
		v, err := typeurl.MarshalAnyToProto(res)
		if err != nil {
			return err
		}
		_, err = r.client.TaskService().Update(ctx, &tasks.UpdateTaskRequest{ContainerID: id, Resources: v})
		return err
	})
}

// Pids lists the processes of a container, as the host numbers them.
func (r *Runtime) Pids(ctx context.Context, id string) ([]int, error) {
	var pids []int
	err := r.operation(ctx, id, "listing the processes of", func(ctx context.Context) error {
		resp, err := r.client.TaskService().ListPids(ctx, &tasks.ListPidsRequest{ContainerID: id})
		if err != nil {
			return err
		}
		for _, p := range resp.Processes {
			pids = append(pids, int(p.Pid))
		}
		return nil
	})
	slices.Sort(pids)
	return pids, err
}

// DeleteTask removes a task that was not started or has ended, and tells how
// it ended. After a group's last task its shim ends. ErrNotFound without a task,
// also when its shim was killed; ErrFailedPrecondition while it runs.
func (r *Runtime) DeleteTask(ctx context.Context, id string) (code int, at time.Time, err error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	g, err := r.groupOf(ctx, id)
	if err != nil {
		return 0, time.Time{}, err
	}
	done, err := g.operate(ctx)
	if err != nil {
		return 0, time.Time{}, err
	}
	defer done()
	g.leave(id)
	code, at, err = r.deleteTask(ctx, id)
	g.deleted(id, err == nil || errdefs.IsNotFound(err))
	return code, at, err
}

func (r *Runtime) deleteTask(ctx context.Context, id string) (int, time.Time, error) {
	resp, err := r.client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	if err == nil {
		r.endings.wait(ctx, id)
		return int(resp.ExitStatus), resp.ExitedAt.AsTime(), nil
	}
	err = errgrpc.ToNative(err)
	t, getErr := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
	switch {
	case errdefs.IsNotFound(errgrpc.ToNative(getErr)):
		// Also how a task ends whose shim is dead: deleting it fails, and
		// leaves nothing.
		return 0, time.Time{}, fmt.Errorf("task of container %q: %w", id, errdefs.ErrNotFound)
	case getErr == nil && t.Process.Status != task.Status_STOPPED:
		return 0, time.Time{}, fmt.Errorf("deleting the task of container %q, which is %s: %w: %w", id, status(t.Process.Status), err, errdefs.ErrFailedPrecondition)
	}
	return 0, time.Time{}, fmt.Errorf("deleting the task of container %q: %w", id, err)
}

// Tasks lists all tasks, sorted by container.
func (r *Runtime) Tasks(ctx context.Context) ([]Task, error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	return r.list(ctx)
}

func (r *Runtime) list(ctx context.Context) ([]Task, error) {
	resp, err := r.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing tasks: %w", errgrpc.ToNative(err))
	}
	out := make([]Task, 0, len(resp.Tasks))
	for _, p := range resp.Tasks {
		out = append(out, newTask(p))
	}
	slices.SortFunc(out, func(a, b Task) int { return strings.Compare(a.ContainerID, b.ContainerID) })
	return out, nil
}

// Task returns a container's task. ErrNotFound when it has none.
func (r *Runtime) Task(ctx context.Context, id string) (Task, error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	resp, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err != nil {
		return Task{}, fmt.Errorf("task of container %q: %w", id, errgrpc.ToNative(err))
	}
	t := newTask(resp.Process)
	t.ContainerID = id
	return t, nil
}

func newTask(p *task.Process) Task {
	t := Task{ContainerID: p.ID, Pid: int(p.Pid), Status: status(p.Status)}
	if t.Status == Stopped {
		t.Code, t.ExitedAt = int(p.ExitStatus), p.ExitedAt.AsTime()
	}
	return t
}

func status(s task.Status) Status {
	switch s {
	case task.Status_CREATED:
		return Created
	case task.Status_RUNNING:
		return Running
	case task.Status_PAUSED, task.Status_PAUSING:
		return Paused
	case task.Status_STOPPED:
		return Stopped
	}
	return Unknown
}
