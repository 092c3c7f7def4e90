package containerd

import (
	"context"
	"fmt"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ExecOptions describes a further process in a container.
type ExecOptions struct {
	ContainerID, ExecID   string
	Process               *specs.Process
	Stdin, Stdout, Stderr string // URIs that the shim understands, "" for nothing
}

// Exec adds a process to a running container; StartExec starts it.
// ErrAlreadyExists when there is one of that ID.
func (r *Runtime) Exec(ctx context.Context, o ExecOptions) error {
	return r.operation(ctx, o.ContainerID, "adding a process to", func(ctx context.Context) error {
		v, err := typeurl.MarshalAnyToProto(o.Process)
		if err != nil {
			return err
		}
		_, err = r.client.TaskService().Exec(ctx, &tasks.ExecProcessRequest{
			ContainerID: o.ContainerID,
			ExecID:      o.ExecID,
			Stdin:       o.Stdin,
			Stdout:      o.Stdout,
			Stderr:      o.Stderr,
			Terminal:    o.Process.Terminal,
			Spec:        v,
		})
		return err
	})
}

// StartExec runs a process that Exec added and returns its pid.
func (r *Runtime) StartExec(ctx context.Context, id, execID string) (pid int, err error) {
	err = r.operation(ctx, id, fmt.Sprintf("starting process %q in", execID), func(ctx context.Context) error {
		resp, err := r.client.TaskService().Start(ctx, &tasks.StartRequest{ContainerID: id, ExecID: execID})
		if err == nil {
			pid = int(resp.Pid)
		}
		return err
	})
	return pid, err
}

// DeleteExec removes a process that has ended or was not started, and tells
// how it ended.
func (r *Runtime) DeleteExec(ctx context.Context, id, execID string) (code int, at time.Time, err error) {
	err = r.operation(ctx, id, fmt.Sprintf("deleting process %q of", execID), func(ctx context.Context) error {
		resp, err := r.client.TaskService().DeleteProcess(ctx, &tasks.DeleteProcessRequest{ContainerID: id, ExecID: execID})
		if err == nil {
			code, at = int(resp.ExitStatus), resp.ExitedAt.AsTime()
		}
		return err
	})
	return code, at, err
}

// ExecStatus returns what an exec does; Status, Pid, Code and ExitedAt are set.
func (r *Runtime) ExecStatus(ctx context.Context, id, execID string) (Task, error) {
	ctx, cancel := r.call(ctx)
	defer cancel()
	resp, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: id, ExecID: execID})
	if err != nil {
		return Task{}, fmt.Errorf("process %q of container %q: %w", execID, id, errgrpc.ToNative(err))
	}
	if resp.Process == nil {
		resp.Process = &task.Process{}
	}
	t := newTask(resp.Process)
	t.ContainerID = id
	return t, nil
}

// Resize sets the size of the terminal of a container's process, or of an
// exec, in characters.
func (r *Runtime) Resize(ctx context.Context, id, execID string, width, height int) error {
	ctx, cancel := r.call(ctx)
	defer cancel()
	_, err := r.client.TaskService().ResizePty(ctx, &tasks.ResizePtyRequest{ContainerID: id, ExecID: execID, Width: uint32(width), Height: uint32(height)})
	if err != nil {
		return fmt.Errorf("resizing the terminal of container %q: %w", id, errgrpc.ToNative(err))
	}
	return nil
}

// CloseStdin ends the input of a container's process or of an exec.
func (r *Runtime) CloseStdin(ctx context.Context, id, execID string) error {
	ctx, cancel := r.call(ctx)
	defer cancel()
	_, err := r.client.TaskService().CloseIO(ctx, &tasks.CloseIORequest{ContainerID: id, ExecID: execID, Stdin: true})
	if err != nil {
		return fmt.Errorf("closing the input of container %q: %w", id, errgrpc.ToNative(err))
	}
	return nil
}
