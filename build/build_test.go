package build_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gantry/build"
	"gantry/containerd"
	"gantry/network"
	"gantry/tests/busybox"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	"github.com/tonistiigi/fsutil"
)

type host struct {
	t   *testing.T
	ctx context.Context
	rt  *containerd.Runtime
	b   *build.Builder
	net *network.Manager
}

// steps attaches steps to the default network.
type steps struct{ m *network.Manager }

func (s steps) Attach(ctx context.Context, id string) (string, error) {
	r, err := s.m.Ensure(ctx, network.Sandbox{ID: id, Endpoints: []network.Endpoint{{Network: "bridge"}}})
	return r.Path, err
}

func (s steps) Detach(ctx context.Context, id string) error { return s.m.Release(ctx, id) }

func start(t *testing.T) *host {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "gt-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	rt, err := containerd.Open(ctx, containerd.Config{Root: filepath.Join(dir, "c"), State: filepath.Join(dir, "s"), ShimPath: "/bin/false"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rt.Close(ctx) })
	m, err := network.Open(ctx, network.Config{Instance: "bt", RunDir: filepath.Join(dir, "n"), StateDir: filepath.Join(dir, "ns")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Sweep(ctx, func(string) bool { return false }); m.Close(ctx) })
	b, err := build.Open(ctx, build.Config{
		Root: filepath.Join(dir, "b"), State: filepath.Join(dir, "bs"), Namespace: "gantry", Snapshotter: rt.Snapshotter(), RuncPath: "runc", Images: rt.ImageStore(), Dangling: containerd.Dangling,
		Hosts: docker.ConfigureDefaultRegistries(), Made: func(string, []string) string { return "" }, Unpack: rt.UnpackBuilt, Garbage: rt.Collect,
	}, rt.Client(), steps{m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	var archive bytes.Buffer
	if err := busybox.Archive(&archive, "busybox:test"); err != nil {
		t.Fatal(err)
	}
	if _, err := rt.Load(ctx, &archive, containerd.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	return &host{t: t, ctx: ctx, rt: rt, b: b, net: m}
}

func TestBuild(t *testing.T) {
	h := start(t)
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM busybox:test\nCOPY x /x\nRUN cat /x /etc/resolv.conf; ip a; echo y >/y\nENV A=b\n"), 0o644)
	os.WriteFile(filepath.Join(dir, "x"), []byte("hello\n"), 0o644)
	fs, err := fsutil.NewFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ch := make(chan *client.SolveStatus)
		var out bytes.Buffer
		d, err := progressui.NewDisplay(&out, progressui.PlainMode)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { d.UpdateFrom(h.ctx, ch); close(done) }()
		t0 := time.Now()
		_, err = h.b.Client().Solve(h.ctx, nil, client.SolveOpt{
			Frontend: "dockerfile.v0", FrontendAttrs: map[string]string{"filename": "Dockerfile", "image-resolve-mode": "local"},
			LocalMounts: map[string]fsutil.FS{"context": fs, "dockerfile": fs},
			Exports:     []client.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": "built:1"}}},
		}, ch)
		<-done
		t.Log(time.Since(t0), out.String())
		if err != nil {
			t.Fatal(err)
		}
	}
	img, err := h.rt.Image(h.ctx, "built:1")
	if err != nil || !strings.Contains(strings.Join(img.Config.Env, " "), "A=b") {
		t.Errorf("%+v %v", img, err)
	}
}

// A session ends with its client, not when somebody asks for it the next time.
func TestSessionEndsWithItsClient(t *testing.T) {
	h := start(t)
	client, here := net.Pipe()
	ended := make(chan error, 1)
	header := http.Header{"X-Docker-Expose-Session-Uuid": {"gone"}, "X-Buildkit-Session-Health-Custom-Timeout": {"3600000"}}
	go func() { ended <- h.b.ServeSession(h.ctx, here, header) }()
	if _, err := client.Read(make([]byte, 1)); err != nil { // BuildKit speaks first
		t.Fatal(err)
	}
	client.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the session stays")
	}
}
