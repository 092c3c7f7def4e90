package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"gantry/containerd/stdio"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
)

// service is containerd's task service with streams, signals and exits of ours.
type service struct {
	taskAPI.TTRPCTaskService
	procs  *processes
	served atomic.Bool // a container was created
	idle   *time.Timer // ends a shim that nobody uses or ends
}

// idleEnd is how long a shim stays without containers when no daemon ends it.
const idleEnd = 30 * time.Second

func newService(inner taskAPI.TTRPCTaskService, procs *processes) *service {
	s := &service{TTRPCTaskService: inner, procs: procs}
	s.idle = time.AfterFunc(idleEnd, func() {
		if s.procs.empty() {
			s.TTRPCTaskService.Shutdown(context.Background(), &taskAPI.ShutdownRequest{})
		}
	})
	return s
}

// RegisterTTRPC makes pkg/shim serve this service.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	taskAPI.RegisterTTRPCTaskService(server, s)
	return nil
}

// open sets a process's streams up and points the request's paths at them.
func (s *service) open(k key, terminal bool, stdin, stdout, stderr *string) (*process, error) {
	p := &process{terminal: terminal, stdin: *stdin, stdout: *stdout, stderr: *stderr, settled: make(chan struct{})}
	if !s.procs.add(k, p) {
		return nil, fmt.Errorf("process %q of container %q: %w", k.exec, k.container, errdefs.ErrAlreadyExists)
	}
	if !stdio.IsURI(*stdout) && !stdio.IsURI(*stderr) && !stdio.IsURI(*stdin) {
		return p, nil
	}
	uri := *stdout
	if uri == "" {
		uri = *stderr
	}
	c, err := stdio.Parse(uri)
	if err == nil {
		c.Terminal = terminal
		streams := stdio.Streams{Stdin: *stdin != "", Stdout: *stdout != "", Stderr: *stderr != "" && !terminal}
		p.hub, err = stdio.New(c, streams, func() { s.closeStdin(k) })
	}
	if err != nil {
		s.procs.remove(k)
		return nil, err
	}
	*stdin, *stdout, *stderr = p.hub.Stdin, p.hub.Stdout, p.hub.Stderr
	return p, nil
}

// closeStdin closes containerd's own end of a process's input.
func (s *service) closeStdin(k key) {
	ctx := context.Background()
	if _, err := s.TTRPCTaskService.CloseIO(ctx, &taskAPI.CloseIORequest{ID: k.container, ExecID: k.exec, Stdin: true}); err != nil {
		log.G(ctx).WithError(err).WithField("id", k.container).Debug("close stdin")
	}
}

// opened is called when containerd has opened its ends of the streams. One that
// was to be closed before that is closed now.
func (s *service) opened(k key, p *process) {
	if p.hub == nil {
		return
	}
	p.hub.Started()
	if p.hub.InputEnded() {
		s.closeStdin(k)
	}
}

// abandon forgets a process that was never made.
func (s *service) abandon(k key, p *process) {
	s.procs.remove(k)
	if p.hub != nil {
		p.hub.Abort()
	}
}

func (s *service) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	k := key{container: r.ID}
	p, err := s.open(k, r.Terminal, &r.Stdin, &r.Stdout, &r.Stderr)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp, err := s.TTRPCTaskService.Create(ctx, r)
	if err != nil {
		s.abandon(k, p)
		return nil, err
	}
	if handle, err := os.FindProcess(int(resp.Pid)); err == nil && resp.Pid > 0 {
		p.handle = handle
	}
	s.opened(k, p)
	s.served.Store(true)
	return resp, nil
}

func (s *service) Exec(ctx context.Context, r *taskAPI.ExecProcessRequest) (*ptypes.Empty, error) {
	k := key{r.ID, r.ExecID}
	p, err := s.open(k, r.Terminal, &r.Stdin, &r.Stdout, &r.Stderr)
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	resp, err := s.TTRPCTaskService.Exec(ctx, r)
	if err != nil {
		s.abandon(k, p)
	}
	return resp, err
}

func (s *service) Start(ctx context.Context, r *taskAPI.StartRequest) (*taskAPI.StartResponse, error) {
	resp, err := s.TTRPCTaskService.Start(ctx, r)
	k := key{r.ID, r.ExecID}
	if p := s.procs.get(k); p != nil && r.ExecID != "" {
		s.opened(k, p)
		if err != nil {
			p.setSettled() // there will be no exit
		}
	}
	return resp, err
}

// Delete returns when nothing of the process's streams is left but what its
// clients have not read yet.
func (s *service) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	k := key{r.ID, r.ExecID}
	p := s.procs.get(k)
	inner := ctx
	if r.ExecID != "" && p != nil {
		// All that this bounds is the wait for output that a child in the
		// background holds open, for which containerd would take 10 s.
		var cancel context.CancelFunc
		inner, cancel = context.WithTimeout(ctx, p.patience())
		defer cancel()
	}
	resp, err := s.TTRPCTaskService.Delete(inner, r)
	if err != nil || p == nil {
		return resp, err
	}
	if resp.ExitedAt.GetSeconds() > 0 {
		p.awaitSettled(ctx.Done())
	}
	if p.hub != nil {
		p.hub.Started() // an exec that was never started
		p.awaitDrained()
		p.hub.Abort()
	}
	if p.handle != nil {
		p.handle.Release()
	}
	s.procs.remove(k)
	s.idle.Reset(idleEnd)
	return resp, nil
}

// Shutdown ends the shim when it has no containers and the daemon wants it to
// end now. containerd asks without that after each container: the next one may
// come. What never served any has failed, and ends.
func (s *service) Shutdown(ctx context.Context, r *taskAPI.ShutdownRequest) (*ptypes.Empty, error) {
	if !r.Now && s.served.Load() {
		return &ptypes.Empty{}, nil
	}
	return s.TTRPCTaskService.Shutdown(ctx, r)
}

// Wait returns when the exit is on record and the log is complete, as the exit
// event does.
func (s *service) Wait(ctx context.Context, r *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error) {
	p := s.procs.get(key{r.ID, r.ExecID})
	resp, err := s.TTRPCTaskService.Wait(ctx, r)
	if err == nil && p != nil {
		p.awaitSettled(ctx.Done())
	}
	return resp, err
}

// State tells the streams as they were asked for.
func (s *service) State(ctx context.Context, r *taskAPI.StateRequest) (*taskAPI.StateResponse, error) {
	resp, err := s.TTRPCTaskService.State(ctx, r)
	if p := s.procs.get(key{r.ID, r.ExecID}); p != nil && err == nil {
		resp.Stdin, resp.Stdout, resp.Stderr = p.stdin, p.stdout, p.stderr
	}
	return resp, err
}

// Kill signals a container's process by itself. Running "runc kill" for that
// holds containerd's lock on the process while its exit is to be handled: with
// some twenty of them at once, exits then queue up behind each other by the second.
func (s *service) Kill(ctx context.Context, r *taskAPI.KillRequest) (*ptypes.Empty, error) {
	p := s.procs.get(key{container: r.ID})
	// Of what is paused, runc knows how to make it die.
	if r.ExecID != "" || r.All || p == nil || p.handle == nil || p.paused.Load() {
		return s.TTRPCTaskService.Kill(ctx, r)
	}
	err := p.handle.Signal(syscall.Signal(r.Signal))
	switch {
	case err == nil:
		return &ptypes.Empty{}, nil
	case errors.Is(err, os.ErrProcessDone):
		err = fmt.Errorf("container %q: its process has finished: %w", r.ID, errdefs.ErrNotFound)
	case errors.Is(err, syscall.EINVAL):
		err = fmt.Errorf("container %q: signal %d: %w: %w", r.ID, r.Signal, err, errdefs.ErrInvalidArgument)
	default:
		err = fmt.Errorf("container %q: signal %d: %w", r.ID, r.Signal, err)
	}
	return nil, errgrpc.ToGRPC(err)
}

func (s *service) Pause(ctx context.Context, r *taskAPI.PauseRequest) (*ptypes.Empty, error) {
	p := s.procs.get(key{container: r.ID})
	if p != nil {
		p.paused.Store(true)
	}
	resp, err := s.TTRPCTaskService.Pause(ctx, r)
	if p != nil && err != nil {
		p.paused.Store(false)
	}
	return resp, err
}

func (s *service) Resume(ctx context.Context, r *taskAPI.ResumeRequest) (*ptypes.Empty, error) {
	resp, err := s.TTRPCTaskService.Resume(ctx, r)
	if p := s.procs.get(key{container: r.ID}); p != nil && err == nil {
		p.paused.Store(false)
	}
	return resp, err
}

func (s *service) CloseIO(ctx context.Context, r *taskAPI.CloseIORequest) (*ptypes.Empty, error) {
	if p := s.procs.get(key{r.ID, r.ExecID}); p != nil && p.hub != nil && r.Stdin && !p.terminal {
		p.hub.CloseInput()
	}
	return s.TTRPCTaskService.CloseIO(ctx, r)
}
