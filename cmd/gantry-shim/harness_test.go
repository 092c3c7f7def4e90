package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/containerd/jsonlog"
	"gantry/containerd/stdio"

	eventstypes "github.com/containerd/containerd/api/events"
	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	eventsAPI "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/protobuf/proto"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const namespace = "shimtest"

// binDir is where the shim under test is built.
var binDir string

var shimBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binDir, "gantry-shim")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return path, fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if binDir, err = os.MkdirTemp("", "gantry-shim"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(binDir)
	os.Exit(code)
}

// daemon stands for what the shim sees of containerd: a server of events.
type daemon struct {
	server   *ttrpc.Server
	listener net.Listener
	exits    string
	mu       sync.Mutex
	events   []any
	recorded []bool // for each event, whether the exit file was there
	changed  chan struct{}
}

func (d *daemon) Forward(_ context.Context, r *eventsAPI.ForwardRequest) (*ptypes.Empty, error) {
	event, err := typeurl.UnmarshalAny(r.Envelope.Event)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	recorded := false
	if e, ok := event.(*eventstypes.TaskExit); ok {
		_, err := os.Stat(filepath.Join(d.exits, e.ContainerID+".json"))
		recorded = err == nil
	}
	d.events, d.recorded = append(d.events, event), append(d.recorded, recorded)
	close(d.changed)
	d.changed = make(chan struct{})
	return &ptypes.Empty{}, nil
}

// exit waits for the exit event of a process.
func (d *daemon) exit(ctx context.Context, t *testing.T, container, process string) (e *eventstypes.TaskExit, recorded bool) {
	t.Helper()
	for {
		d.mu.Lock()
		changed := d.changed
		for i, event := range d.events {
			if e, ok := event.(*eventstypes.TaskExit); ok && e.ContainerID == container && e.ID == process {
				d.mu.Unlock()
				return e, d.recorded[i]
			}
		}
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no exit event of %q in %q", process, container)
		}
	}
}

// kinds lists a container's events, without package names, in their order. It
// waits for the container's deletion.
func (d *daemon) kinds(container string) string {
	for {
		d.mu.Lock()
		changed := d.changed
		var kinds []string
		for _, event := range d.events {
			if e, ok := event.(interface{ GetContainerID() string }); ok && e.GetContainerID() == container {
				_, kind, _ := strings.Cut(fmt.Sprintf("%T", event), ".")
				kinds = append(kinds, kind)
			}
		}
		d.mu.Unlock()
		if len(kinds) > 0 && kinds[len(kinds)-1] == "TaskDelete" {
			return strings.Join(kinds, " ")
		}
		select {
		case <-changed:
		case <-time.After(30 * time.Second):
			return strings.Join(kinds, " ") + " and no TaskDelete"
		}
	}
}

// hold makes the daemon answer nothing until release.
func (d *daemon) hold() (release func()) {
	d.mu.Lock()
	return d.mu.Unlock
}

// rig is a shim with what it needs around it.
type rig struct {
	t       *testing.T
	ctx     context.Context
	root    string
	rootfs  string
	cgroup  string
	address string
	daemon  *daemon
	conn    *ttrpc.Client
	task    taskAPI.TTRPCTaskService
	pid     int // the shim's, once a container is there
}

// newRig starts nothing: the first container starts the shim.
func newRig(t *testing.T) *rig {
	t.Helper()
	root, err := os.MkdirTemp("", "gsh") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(context.Background(), namespace), 120*time.Second)
	r := &rig{t: t, ctx: ctx, root: root, rootfs: filepath.Join(root, "rootfs"), cgroup: filepath.Base(root)}
	t.Cleanup(func() {
		r.stop()
		cancel()
		os.RemoveAll(root)
	})
	for _, dir := range []string{"rootfs/bin", "rootfs/proc", "rootfs/dev", "rootfs/sbin", "rootfs/tmp", "exits", "s", "io"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.rootfs, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "cat", "echo", "seq", "sleep", "stty", "true", "kill", "ps", "yes", "head", "test"} {
		if err := os.Symlink("busybox", filepath.Join(r.rootfs, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	r.listen()
	return r
}

func (r *rig) listen() {
	r.t.Helper()
	d := &daemon{exits: filepath.Join(r.root, "exits"), changed: make(chan struct{})}
	var err error
	if d.server, err = ttrpc.NewServer(); err != nil {
		r.t.Fatal(err)
	}
	eventsAPI.RegisterTTRPCEventsService(d.server, d)
	path := filepath.Join(r.root, "events.sock")
	os.Remove(path)
	if d.listener, err = net.Listen("unix", path); err != nil {
		r.t.Fatal(err)
	}
	go d.server.Serve(r.ctx, d.listener)
	r.daemon = d
}

// killDaemon breaks all that ties the shim to the daemon, at once.
func (r *rig) killDaemon() {
	r.daemon.server.Close()
	r.conn.Close()
}

func (r *rig) stop() {
	if r.daemon != nil {
		defer r.daemon.server.Close()
	}
	if r.pid == 0 {
		return
	}
	unix.Kill(r.pid, unix.SIGKILL) // a shim that has ended is not there any more
	// What a failed test leaves is killed by its cgroup.
	for _, dir := range r.cgroups() {
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, pid := range strings.Fields(string(procs)) {
			var n int
			fmt.Sscan(pid, &n)
			unix.Kill(n, unix.SIGKILL)
		}
		for range 100 { // dead processes leave their cgroup in the background
			if err := os.Remove(dir); !errors.Is(err, unix.EBUSY) {
				break
			}
			exec.Command("sleep", "0.05").Run()
		}
	}
}

// cgroups lists the test's, those of containers before their parents.
func (r *rig) cgroups() (all []string) {
	for _, pattern := range []string{"/sys/fs/cgroup/*/%s/*", "/sys/fs/cgroup/%s/*", "/sys/fs/cgroup/*/%s", "/sys/fs/cgroup/%s"} {
		dirs, _ := filepath.Glob(fmt.Sprintf(pattern, r.cgroup))
		for _, dir := range dirs {
			if st, err := os.Stat(dir); err == nil && st.IsDir() {
				all = append(all, dir)
			}
		}
	}
	return all
}

// shutdown ends a shim without containers.
func (r *rig) shutdown() {
	r.t.Helper()
	fd, err := unix.PidfdOpen(r.pid, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(fd)
	// It may be gone before it has answered.
	if _, err := r.task.Shutdown(r.ctx, &taskAPI.ShutdownRequest{Now: true}); err != nil && !errors.Is(err, ttrpc.ErrClosed) {
		r.t.Error(err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000); n != 1 {
		r.t.Errorf("the shim still runs 30 s after its shutdown (%v)", err)
	}
	if _, err := os.Stat(r.address); !errors.Is(err, os.ErrNotExist) {
		r.t.Errorf("the shim's socket is left: %v", err)
	}
}

type container struct {
	*rig
	id     string
	bundle string
	log    string
	socket string
}

// create makes a container, by starting the shim if it is the first one.
// Change may be nil.
func (r *rig) create(id string, c stdio.Config, change func(*specs.Spec, *taskAPI.CreateTaskRequest), args ...string) (*container, error) {
	r.t.Helper()
	k := &container{rig: r, id: id, bundle: filepath.Join(r.root, "b-"+id)}
	if err := os.MkdirAll(k.bundle, 0o700); err != nil {
		r.t.Fatal(err)
	}
	k.log, k.socket = filepath.Join(k.bundle, "c.log"), filepath.Join(r.root, "io", id)
	c.LogPath, c.Socket = k.log, k.socket
	opts, err := typeurl.MarshalAnyToProto(&options.Options{Root: filepath.Join(r.root, "runc")})
	if err != nil {
		r.t.Fatal(err)
	}
	req := &taskAPI.CreateTaskRequest{ID: id, Bundle: k.bundle, Stdout: c.URI(), Stderr: c.URI(), Options: opts}
	spec := r.spec(id, args)
	if change != nil {
		change(spec, req)
	}
	req.Terminal = spec.Process.Terminal
	if req.Terminal {
		req.Stderr = ""
	}
	b, err := json.Marshal(spec)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(k.bundle, "config.json"), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if r.address == "" {
		r.startShim(k)
	}
	if _, err := r.task.Create(r.ctx, req); err != nil {
		return nil, err
	}
	return k, nil
}

func (r *rig) must(id string, c stdio.Config, change func(*specs.Spec, *taskAPI.CreateTaskRequest), args ...string) *container {
	r.t.Helper()
	k, err := r.create(id, c, change, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

func (r *rig) spec(id string, args []string) *specs.Spec {
	return &specs.Spec{
		Version: "1.0.2",
		Root:    &specs.Root{Path: r.rootfs, Readonly: true},
		Process: &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin:/sbin"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: "/" + r.cgroup + "/" + id,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.NetworkNamespace},
			},
		},
	}
}

// startShim does what containerd does.
func (r *rig) startShim(k *container) {
	r.t.Helper()
	binary, err := shimBinary()
	if err != nil {
		r.t.Fatal(err)
	}
	logPath := filepath.Join(k.bundle, "log")
	if err := unix.Mkfifo(logPath, 0o700); err != nil {
		r.t.Fatal(err)
	}
	logs, err := os.OpenFile(logPath, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { logs.Close() })
	go io.Copy(os.Stderr, logs)

	dir := filepath.Join(r.root, "s")
	events := filepath.Join(r.root, "events.sock")
	params, err := proto.Marshal(&bootapi.BootstrapParams{
		InstanceID: k.id, Namespace: namespace, SocketDir: &dir, LogLevel: bootapi.LogLevel_LOG_LEVEL_INFO,
		ContainerdGrpcAddress: filepath.Join(r.root, "c.sock"), ContainerdTtrpcAddress: events,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, "-namespace", namespace, "-address", filepath.Join(r.root, "c.sock"), "-id", k.id, "start")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = k.bundle, bytes.NewReader(params), &out, &errs
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "TTRPC_ADDRESS="+events, exitsEnv+"="+filepath.Join(r.root, "exits"))
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("start shim: %v: %s", err, errs.String())
	}
	var result bootapi.BootstrapResult
	if err := proto.Unmarshal(out.Bytes(), &result); err != nil {
		r.t.Fatalf("start shim: %v: %q", err, out.String())
	}
	r.address = strings.TrimPrefix(result.Address, "unix://")
	r.connect()
	resp, err := r.task.Connect(r.ctx, &taskAPI.ConnectRequest{ID: k.id})
	if err != nil {
		r.t.Fatal(err)
	}
	r.pid = int(resp.ShimPid)
}

func (r *rig) connect() {
	r.t.Helper()
	conn, err := net.Dial("unix", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn = ttrpc.NewClient(conn)
	r.task = taskAPI.NewTTRPCTaskClient(r.conn)
	r.t.Cleanup(func() { conn.Close() })
}

func (k *container) start() {
	k.t.Helper()
	if _, err := k.task.Start(k.ctx, &taskAPI.StartRequest{ID: k.id}); err != nil {
		k.t.Fatalf("start %s: %v", k.id, err)
	}
}

func (k *container) kill(signal unix.Signal) {
	k.t.Helper()
	if _, err := k.task.Kill(k.ctx, &taskAPI.KillRequest{ID: k.id, Signal: uint32(signal)}); err != nil {
		k.t.Fatalf("kill %s: %v", k.id, err)
	}
}

// wait returns the exit code.
func (k *container) wait(exec string) uint32 {
	k.t.Helper()
	resp, err := k.task.Wait(k.ctx, &taskAPI.WaitRequest{ID: k.id, ExecID: exec})
	if err != nil {
		k.t.Fatalf("wait for %s: %v", k.id, err)
	}
	return resp.ExitStatus
}

// remove deletes the container and checks that nothing of it is left.
func (k *container) remove() {
	k.t.Helper()
	if _, err := k.task.Delete(k.ctx, &taskAPI.DeleteRequest{ID: k.id}); err != nil {
		k.t.Fatalf("delete %s: %v", k.id, err)
	}
	if _, err := os.Stat(k.socket); !errors.Is(err, os.ErrNotExist) {
		k.t.Errorf("the socket of %s is left: %v", k.id, err)
	}
}

// logged reads the whole log as it is now.
func (k *container) logged() (entries []jsonlog.Entry) {
	k.t.Helper()
	r, err := jsonlog.Open(k.log, jsonlog.Options{Tail: -1})
	if err != nil {
		k.t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next(k.ctx)
		if err == io.EOF {
			return entries
		}
		if err != nil {
			k.t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

func (k *container) logText() string {
	k.t.Helper()
	var b strings.Builder
	for _, e := range k.logged() {
		b.Write(e.Line)
	}
	return b.String()
}

func (k *container) attach(o ...stdio.AttachOption) *stdio.Stream {
	k.t.Helper()
	return attachAt(k.ctx, k.t, k.socket, o...)
}

func attachAt(ctx context.Context, t *testing.T, socket string, o ...stdio.AttachOption) *stdio.Stream {
	t.Helper()
	s, err := stdio.Attach(ctx, socket, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// collect reads everything in the background.
func collect(t *testing.T, s *stdio.Stream) func() string {
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- s.Copy(&out, &out) }()
	return func() string {
		t.Helper()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(60 * time.Second):
			t.Fatal("the stream has not ended within 60 s")
		}
		return out.String()
	}
}

type exitFile struct {
	ID     string    `json:"id"`
	ExecID *string   `json:"exec_id"`
	Pid    uint32    `json:"pid"`
	Code   uint32    `json:"code"`
	At     time.Time `json:"at"`
}

func (k *container) exitFile() exitFile {
	k.t.Helper()
	b, err := os.ReadFile(filepath.Join(k.root, "exits", k.id+".json"))
	if err != nil {
		k.t.Fatal(err)
	}
	var e exitFile
	if err := json.Unmarshal(b, &e); err != nil {
		k.t.Fatal(err)
	}
	return e
}
