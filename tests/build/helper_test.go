// Package build_test builds images on a real daemon as buildx does: with
// BuildKit's client over the Engine API's connections.
package build_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"
	moby "github.com/moby/moby/client"
	"github.com/tonistiigi/fsutil"
)

const (
	image    = "busybox:test"
	patience = 2 * time.Minute
)

// host is a daemon with a busybox image and a client of its BuildKit.
type host struct {
	*harness.Daemon
	*client.Client
	ctx context.Context
}

func start(t *testing.T) *host {
	t.Helper()
	d := harness.Start(t)
	d.Busybox(image)
	engine, err := moby.New(moby.WithHost(d.Host))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	kit, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return engine.DialHijack(ctx, "/grpc", "h2c", nil)
	}), client.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
		return engine.DialHijack(ctx, "/session", proto, meta)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); kit.Close(); engine.Close() })
	return &host{Daemon: d, Client: kit, ctx: ctx}
}

// built builds a directory of files into an image name; it returns BuildKit's
// plain progress.
func (h *host) built(name string, files map[string]string, attrs map[string]string) (string, error) {
	h.T.Helper()
	text, _, err := h.solved(name, files, attrs)
	return text, err
}

// solved is built, and returns what the exporter said, too.
func (h *host) solved(name string, files map[string]string, attrs map[string]string) (string, map[string]string, error) {
	h.T.Helper()
	dir := h.T.TempDir()
	for f, content := range files {
		p := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			h.T.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			h.T.Fatal(err)
		}
	}
	fs, err := fsutil.NewFS(dir)
	if err != nil {
		h.T.Fatal(err)
	}
	all := map[string]string{"image-resolve-mode": "local"}
	maps.Copy(all, attrs)
	var out bytes.Buffer
	display, err := progressui.NewDisplay(&out, progressui.PlainMode)
	if err != nil {
		h.T.Fatal(err)
	}
	status, shown := make(chan *client.SolveStatus), make(chan struct{})
	go func() { defer close(shown); display.UpdateFrom(h.ctx, status) }()
	resp, err := h.Solve(h.ctx, nil, client.SolveOpt{
		Frontend: "dockerfile.v0", FrontendAttrs: all, LocalMounts: map[string]fsutil.FS{"context": fs, "dockerfile": fs},
		Exports: []client.ExportEntry{{Type: "moby", Attrs: map[string]string{"name": name}}},
	}, status)
	<-shown
	if err != nil {
		return out.String(), nil, err
	}
	return out.String(), resp.ExporterResponse, nil
}

// idle waits until nothing of the cache is in use: builds that have ended let go
// of it on their way.
func idle(d *harness.Daemon) {
	d.T.Helper()
	harness.Eventually(d.T, "nothing of the cache is in use", func() error {
		if used := d.MustDocker("buildx", "du", "--filter", "inuse=true", "--format", "{{.ID}}"); used != "" {
			return errors.New(used)
		}
		return nil
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// untar unpacks an archive of ours.
func untar(t *testing.T, archive, dir string) {
	t.Helper()
	if out, err := exec.Command("tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
}
