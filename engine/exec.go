package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	ctd "gantry/containerd"
	"gantry/containerd/spec"
	"gantry/containerd/stdio"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// execEnd bounds how long a process that was killed may take to be gone.
const execEnd = 10 * time.Second

// execution is a process besides a container's main one.
type execution struct {
	id  string
	c   *ctr
	req container.ExecCreateRequest

	mu       sync.Mutex
	started  bool
	running  bool
	pid      int
	code     *int
	launched chan struct{} // closed when the runtime has answered the start
	ended    chan struct{} // closed when the process is gone
}

func randomID() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails, by its documentation
	return hex.EncodeToString(b)
}

func (e *Engine) newExec(c *ctr, req container.ExecCreateRequest) *execution {
	return &execution{id: randomID(), c: c, req: req, launched: make(chan struct{}), ended: make(chan struct{})}
}

// CreateExec prepares a process in a running container; StartExec runs it.
func (e *Engine) CreateExec(ctx context.Context, ref string, req container.ExecCreateRequest) (string, error) {
	c, err := e.find(ref)
	if err != nil {
		return "", err
	}
	if len(req.Cmd) == 0 {
		return "", fmt.Errorf("No exec command specified: %w", errdefs.ErrInvalidArgument)
	}
	if err := c.takesExecs(); err != nil {
		return "", err
	}
	x := e.newExec(c, req)
	defer e.emitContainer(c, execAction(events.ActionExecCreate, req.Cmd), map[string]string{"execID": x.id})
	e.mu.Lock()
	e.execs[x.id] = x
	e.mu.Unlock()
	time.AfterFunc(execKept, func() { e.forgetExec(x, true) })
	return x.id, nil
}

// takesExecs says why a container runs no further process, in Docker's words.
func (c *ctr) takesExecs() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.st.Status == container.StateRestarting:
		return fmt.Errorf("Container %s is restarting, wait until the container is running: %w", c.id, errdefs.ErrConflict)
	case c.run == nil || c.run.dead || !c.st.alive():
		return fmt.Errorf("container %s is not running: %w", c.id, errdefs.ErrConflict)
	case c.st.Status == container.StatePaused:
		return fmt.Errorf("Container %s is paused, unpause the container before exec: %w", c.id, errdefs.ErrConflict)
	}
	return nil
}

// execAction is an exec's event with the command behind it.
func execAction(kind events.Action, cmd []string) events.Action {
	return kind + ": " + events.Action(strings.Join(cmd, " "))
}

// CheckExec tells whether an exec can be started: it never was, and its
// container takes it.
func (e *Engine) CheckExec(_ context.Context, id string) error {
	x, err := e.findExec(id)
	if err != nil {
		return err
	}
	x.mu.Lock()
	started := x.started
	x.mu.Unlock()
	if started {
		return x.hasRun()
	}
	return x.c.takesExecs()
}

func (x *execution) hasRun() error {
	return fmt.Errorf("exec command %s has already run: %w", x.id, errdefs.ErrConflict)
}

func (e *Engine) findExec(id string) (*execution, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if x, ok := e.execs[id]; ok {
		return x, nil
	}
	return nil, fmt.Errorf("No such exec instance: %s: %w", id, errdefs.ErrNotFound)
}

// StartExec runs a prepared process. Detached, it returns no stream.
func (e *Engine) StartExec(ctx context.Context, id string, opts ExecStart) (*Stream, error) {
	x, err := e.findExec(id)
	if err != nil {
		return nil, err
	}
	attach := !opts.Detach
	if err := x.c.takesExecs(); err != nil {
		return nil, err
	}
	s, err := e.launch(ctx, x, attach, opts.ConsoleSize)
	if err != nil {
		time.AfterFunc(execKept, func() { e.forgetExec(x, false) })
		return nil, err
	}
	e.emitContainer(x.c, execAction(events.ActionExecStart, x.req.Cmd), map[string]string{"execID": x.id})
	go func() {
		select {
		case <-x.ended:
		case <-e.ctx.Done():
			return
		}
		e.emitContainer(x.c, events.ActionExecDie, map[string]string{"execID": x.id, "exitCode": fmt.Sprint(*x.code)})
		time.AfterFunc(execKept, func() { e.forgetExec(x, false) })
	}()
	if !attach {
		return nil, nil
	}
	s.Detached = func() { e.emitContainer(x.c, events.ActionExecDetach, map[string]string{"execID": x.id}) }
	return s, nil
}

// execKept is how long an exec can be inspected after its end, and started
// after it was prepared.
const execKept = 5 * time.Minute

// forgetExec drops an exec; with unused, only one that was never started.
func (e *Engine) forgetExec(x *execution, unused bool) {
	x.mu.Lock()
	started := x.started
	x.mu.Unlock()
	if unused && started {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.execs, x.id)
}

// endExecs sees to it that what ran in a container beside its main process
// counts as ended soon after that: a shim that was killed tells of none.
func (e *Engine) endExecs(c *ctr) {
	e.mu.RLock()
	var left []*execution
	for _, x := range e.running {
		if x.c == c {
			left = append(left, x)
		}
	}
	e.mu.RUnlock()
	for _, x := range left {
		time.AfterFunc(exitTold, func() {
			e.mu.Lock()
			delete(e.running, x.id)
			e.mu.Unlock()
			x.finish(137)
		})
	}
}

// launch starts the process of x; the stream is connected before it runs.
func (e *Engine) launch(ctx context.Context, x *execution, attach bool, size *[2]uint) (_ *Stream, err error) {
	r, err := x.c.current()
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	if x.started {
		x.mu.Unlock()
		return nil, x.hasRun()
	}
	x.started = true
	if size == nil {
		size = x.req.ConsoleSize
	}
	x.mu.Unlock()
	fail := func(err error) (*Stream, error) {
		e.mu.Lock()
		delete(e.running, x.id)
		e.mu.Unlock()
		x.finish(execFailure(err))
		return nil, fmt.Errorf("exec in container %q: %w", x.c.name(), err)
	}
	base, err := e.process(ctx, x.c)
	if err != nil {
		return fail(err)
	}
	p, err := spec.Process(base, x.req, fmt.Sprintf("/proc/%d/root", r.pid), x.c.record().HostConfig.GroupAdd...)
	if err != nil {
		return fail(err)
	}
	if size != nil && x.req.Tty {
		p.ConsoleSize = consoleBox(*size)
	}
	io := processIO{}
	socket := ""
	if attach {
		socket = e.socket(x.id)
		io = newProcessIO(stdio.Config{Socket: socket, AwaitClient: true, CloseStdin: true}, x.req.AttachStdin, x.req.Tty)
	}
	e.mu.Lock()
	e.running[x.id] = x
	e.mu.Unlock()
	if err := e.rt.Exec(ctx, ctd.ExecOptions{ContainerID: x.c.id, ExecID: x.id, Process: p, Stdin: io.stdin, Stdout: io.stdout, Stderr: io.stderr}); err != nil {
		if ctx.Err() != nil { // it may have come about all the same
			err = errJoin(err, e.dropExec(x))
		}
		return fail(err)
	}
	var s *Stream
	if attach {
		raw, err := stdio.Attach(ctx, socket, withStdin(x.req.AttachStdin)...)
		if err != nil {
			return fail(errJoin(err, e.dropExec(x)))
		}
		s = newStream(raw, x.req.Tty, x.req.AttachStdin)
	}
	pid, err := e.rt.StartExec(ctx, x.c.id, x.id)
	close(x.launched)
	if err != nil {
		if s != nil {
			s.Close()
		}
		if ctx.Err() != nil { // it may run all the same
			err = errJoin(err, e.killExec(x))
		}
		return fail(errJoin(err, e.dropExec(x)))
	}
	x.mu.Lock()
	x.running, x.pid = x.code == nil, pid
	x.mu.Unlock()
	return s, nil
}

// killExec ends the process of an exec; one that does not run is fine.
func (e *Engine) killExec(x *execution) error {
	ctx, cancel := e.cleanupContext()
	defer cancel()
	return ignore(ignoreNotFound(e.rt.Kill(ctx, x.c.id, x.id, syscall.SIGKILL, false)), errdefs.IsFailedPrecondition)
}

// dropExec deletes what is left of a process in the runtime.
func (e *Engine) dropExec(x *execution) error {
	ctx, cancel := e.cleanupContext()
	defer cancel()
	_, _, err := e.rt.DeleteExec(ctx, x.c.id, x.id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// finish notes the end of the process, once.
func (x *execution) finish(code int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.code == nil {
		x.code, x.running = &code, false
		close(x.ended)
	}
}

// execExited takes the runtime's word that an exec's process ended.
func (e *Engine) execExited(execID string, code int) {
	e.mu.Lock()
	x := e.running[execID]
	delete(e.running, execID)
	e.mu.Unlock()
	if x == nil {
		return
	}
	// one that ends at once must not be deleted while it is being started
	select {
	case <-x.launched:
	case <-e.ctx.Done():
		return
	}
	if err := e.dropExec(x); err != nil {
		log.G(e.ctx).WithError(err).Debugf("exec %s of container %q", short(execID), x.c.name())
	}
	x.finish(code)
}

// runExec runs a prepared process to its end and copies its output to out. A
// process that outlives ctx is killed.
func (e *Engine) runExec(ctx context.Context, x *execution, out io.Writer) (code int, err error) {
	s, err := e.launch(ctx, x, true, nil)
	if err != nil {
		return -1, err
	}
	defer s.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		for {
			_, p, err := s.Next()
			if err != nil {
				return
			}
			out.Write(p)
		}
	}()
	select {
	case <-x.ended:
	case <-ctx.Done():
		kerr := e.killExec(x)
		select {
		case <-x.ended:
		case <-time.After(execEnd):
			err = fmt.Errorf("exec %s in container %q does not die: %w", short(x.id), x.c.name(), errdefs.ErrUnavailable)
			x.finish(137)
		}
		s.Close()
		<-copied
		return -1, errJoin(context.Cause(ctx), err, kerr)
	}
	// a child that keeps the output open must not hold the result back
	select {
	case <-copied:
	case <-time.After(time.Second):
		s.Close()
		<-copied
	}
	return *x.code, nil
}

// ResizeExec sets the size of an exec's terminal; of one that was not started
// yet, the size that it will start with.
func (e *Engine) ResizeExec(ctx context.Context, id string, height, width uint) error {
	x, err := e.findExec(id)
	if err != nil {
		return err
	}
	x.mu.Lock()
	started, over := x.started, x.code != nil
	if !started {
		x.req.ConsoleSize = &[2]uint{height, width}
	}
	x.mu.Unlock()
	if !started {
		return nil
	}
	if !over {
		select { // clients do not wait until it runs
		case <-x.launched:
		case <-x.ended:
		case <-time.After(execEnd):
			return fmt.Errorf("exec %s in container %q: no terminal after %v: %w", short(x.id), x.c.name(), execEnd, errdefs.ErrUnavailable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := e.rt.Resize(ctx, x.c.id, x.id, int(width), int(height)); errdefs.IsNotFound(err) {
		return fmt.Errorf("exec command %s is not running: %w", x.id, errdefs.ErrConflict)
	} else {
		return err
	}
}

// execIDs are the processes that run in a container besides its own.
func (e *Engine) execIDs(id string) (ids []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, x := range e.execs {
		if x.c.id == id && x.isRunning() {
			ids = append(ids, x.id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (x *execution) isRunning() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.running
}

// InspectExec tells how an exec stands.
func (e *Engine) InspectExec(_ context.Context, id string) (container.ExecInspectResponse, error) {
	x, err := e.findExec(id)
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	r := container.ExecInspectResponse{
		ID: x.id, Running: x.running, ExitCode: x.code, ContainerID: x.c.id, Pid: x.pid,
		OpenStdin: x.req.AttachStdin, OpenStdout: x.req.AttachStdout, OpenStderr: x.req.AttachStderr, DetachKeys: []byte(x.req.DetachKeys),
		ProcessConfig: &container.ExecProcessConfig{Tty: x.req.Tty, Entrypoint: x.req.Cmd[0], Arguments: x.req.Cmd[1:], User: x.req.User},
	}
	privileged := x.req.Privileged
	r.ProcessConfig.Privileged, r.CanRemove = &privileged, x.code != nil
	return r, nil
}

// socket is where the shim serves the streams of a process.
func (e *Engine) socket(id string) string { return filepath.Join(e.cfg.RunRoot, "io", id[:32]+".sock") }
