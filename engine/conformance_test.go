package engine_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	ctd "gantry/containerd"
	"gantry/engine"
	"gantry/network"
	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/conformance"
	"gantry/tests/busybox"
	"gantry/volumes"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/tonistiigi/fsutil"
	fstypes "github.com/tonistiigi/fsutil/types"
)

// The engine obeys the same suite as the machine in memory against which the
// planner's properties are tested.
func TestConformance(t *testing.T) {
	shim := filepath.Join(t.TempDir(), "gantry-shim")
	build := exec.Command("go", "build", "-o", shim, "gantry/cmd/gantry-shim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the shim: %v\n%s", err, out)
	}
	conformance.Test(t, func(t *testing.T) (scheduler.Driver, conformance.Session) {
		e := newEngine(t, shim)
		return e, func(t *testing.T, b project.Build) string { return newSession(t, e, b) }
	}, "busybox:latest")
}

// newSession provides a build's context and inline Dockerfile as a client does.
func newSession(t *testing.T, e *engine.Engine, b project.Build) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := session.NewSession(ctx, "conformance")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fsutil.NewFS(b.Context)
	if err != nil {
		t.Fatal(err)
	}
	inline := staticfs.NewFS()
	inline.Add("Dockerfile", &fstypes.Stat{Mode: 0o644}, []byte(b.DockerfileInline))
	s.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{
		project.LocalContext: files, project.LocalName("", b.DockerfileInline): inline,
	}))
	var both sync.WaitGroup
	both.Go(func() {
		err := s.Run(ctx, func(_ context.Context, _ string, header map[string][]string) (net.Conn, error) {
			client, server := net.Pipe()
			both.Go(func() {
				if err := e.ServeSession(ctx, server, header); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			})
			return client, nil
		})
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		s.Close()
		both.Wait()
	})
	return s.ID()
}

// newEngine opens an engine on roots of its own, with a busybox image.
func newEngine(t *testing.T, shim string) *engine.Engine {
	t.Helper()
	return newHost(t, shim).engine
}

// host is all that an engine works with.
type host struct {
	engine  *engine.Engine
	cfg     engine.Config
	rt      *ctd.Runtime
	net     *network.Manager
	volumes *volumes.Store
}

// open puts an engine in the place of the one before, if any.
func (h *host) open(t *testing.T) {
	t.Helper()
	if h.engine != nil {
		h.engine.Close()
	}
	e, err := engine.Open(context.Background(), h.cfg, h.rt, h.net, h.volumes)
	if err != nil {
		t.Fatal(err)
	}
	h.engine = e
}

func newHost(t *testing.T, shim string) *host {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "ge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	ctx := context.Background()
	rt, err := ctd.Open(ctx, ctd.Config{Root: dir + "/data/containerd", State: dir + "/ctd", ExitsDir: dir + "/exits", ShimPath: shim, LogLevel: os.Getenv("GANTRY_TEST_LOG")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	tag := filepath.Base(dir)
	net, err := network.Open(ctx, network.Config{Instance: "e" + tag[len(tag)-5:], RunDir: dir + "/netns", StateDir: dir + "/data/networks"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range net.List() {
			if n.Bridge != "" && n.Name != "bridge" {
				if err := net.Remove(ctx, n.ID); err != nil {
					t.Error(err)
				}
			}
		}
		if err := net.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	vols, err := volumes.Open(dir + "/data/volumes")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{cfg: engine.Config{DataRoot: dir + "/data", RunRoot: dir, Instance: tag[2:8], InitPath: shim, LogDriver: "json-file"}, rt: rt, net: net, volumes: vols}
	h.open(t)
	t.Cleanup(func() { h.engine.Close() })
	t.Cleanup(func() {
		e := h.engine
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		list, err := e.ListContainers(ctx, engine.ListOptions{All: true})
		if err != nil {
			t.Error(err)
		}
		for _, c := range list {
			if err := e.RemoveContainer(ctx, c.ID, engine.RemoveOptions{Force: true, Volumes: true}); err != nil {
				t.Error(err)
			}
		}
	})
	var archive bytes.Buffer
	if err := busybox.Archive(&archive, "busybox:latest"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.engine.LoadImages(ctx, &archive, nil, func(engine.Progress) {}); err != nil {
		t.Fatal(err)
	}
	return h
}
