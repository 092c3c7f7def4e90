package containerd_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"gantry/containerd"
	"gantry/tests/busybox"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// between is a registry's front that hands requests on after look has had its
// way with them.
func between(t *testing.T, addr string, look func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request)) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { panic(http.ErrAbortHandler) }
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = addr // locations of uploads lead back here
		if w, r = look(w, r); w != nil {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	proxy.ModifyResponse = func(r *http.Response) error {
		if l := r.Header.Get("Location"); l != "" {
			r.Header.Set("Location", strings.Replace(l, addr, srv.Listener.Addr().String(), 1))
		}
		return nil
	}
	return srv.Listener.Addr().String()
}

// brokenBody ends in its middle.
type brokenBody struct {
	io.ReadCloser
	left int
}

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (h *host) loadLayers(t *testing.T, name string, opts ...busybox.Option) {
	t.Helper()
	var archive bytes.Buffer
	h.must(busybox.Archive(&archive, name, opts...))
	_, err := h.Load(h.ctx, &archive, containerd.LoadOptions{})
	h.must(err)
}

// A push whose connection breaks goes on, and brings over what is left alone.
func TestPushGoesOn(t *testing.T) {
	const size = 8 << 20
	addr := registry(t, "", "")
	var broken atomic.Int32
	front := between(t, addr, func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
		if r.Method == http.MethodPut && r.ContentLength > size && broken.Add(1) == 1 {
			r.Body = &brokenBody{r.Body, size / 2}
		}
		return w, r
	})
	h := open(t)
	ref := front + "/app:1"
	h.loadLayers(t, ref, busybox.Layer(busybox.File{Path: "/big", Body: noise(size)}))
	img, err := h.Image(h.ctx, ref)
	h.must(err)
	got, err := h.Push(h.ctx, ref, containerd.PushOptions{})
	h.must(err)
	if broken.Load() != 2 || got.Target.Digest.String() != img.Target {
		t.Errorf("%d uploads of the layer, pushed %+v", broken.Load(), got)
	}
	direct := addr + "/app:1"
	pulled, err := h.Pull(h.ctx, direct, containerd.PullOptions{})
	h.must(err)
	if pulled.ID != img.ID {
		t.Errorf("pushed %s, the registry has %s", img.ID, pulled.ID)
	}
}

// A registry that never takes a layer ends the push after so many attempts; the
// next push does not send again what is there.
func TestPushGivesUp(t *testing.T) {
	const size = 1 << 20
	addr := registry(t, "", "")
	var cut atomic.Bool
	var tried, small atomic.Int32
	cut.Store(true)
	front := between(t, addr, func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.ContentLength > size && r.ContentLength < 2*size:
			tried.Add(1)
			if cut.Load() {
				r.Body = &brokenBody{r.Body, size / 2}
			}
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/"):
			small.Add(1)
		}
		return w, r
	})
	cfg := config(t)
	cfg.Registries.Attempts = 2
	h := openConfig(t, cfg)
	ref := front + "/app:1"
	h.loadLayers(t, ref, busybox.Layer(busybox.File{Path: "/big", Body: noise(size)}))
	if _, err := h.Push(h.ctx, ref, containerd.PushOptions{}); err == nil || !strings.Contains(err.Error(), front) {
		t.Errorf("a push that never gets through: %v", err)
	}
	if _, err := h.Resolve(h.ctx, addr+"/app:1", containerd.PullOptions{}); err == nil {
		t.Error("half an image has a name in the registry")
	}
	if tried.Load() != 2 {
		t.Errorf("%d attempts", tried.Load())
	}
	sent := small.Load()
	cut.Store(false)
	_, err := h.Push(h.ctx, ref, containerd.PushOptions{})
	h.must(err)
	if again := small.Load() - sent; again > 1 { // at most the one that was cancelled
		t.Errorf("%d blobs travelled again", again)
	}
}

// What was garbled on the way is thrown away and fetched again.
func TestPullOfGarbledContent(t *testing.T) {
	addr := registry(t, "", "")
	push(t, addr+"/app:1", []string{"--dest-decompress"}, busybox.Layer(busybox.File{Path: "/big", Body: noise(1 << 20)}))
	var garbled atomic.Int32
	front := between(t, addr, func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && garbled.Add(1) == 1 {
			return &garbler{ResponseWriter: w}, r
		}
		return w, r
	})
	h := open(t)
	_, err := h.Pull(h.ctx, front+"/app:1", containerd.PullOptions{})
	h.must(err)
	if garbled.Load() < 2 {
		t.Error("nothing was garbled")
	}
}

// garbler changes a byte of an answer.
type garbler struct {
	http.ResponseWriter
	done bool
}

func (g *garbler) Write(p []byte) (int, error) {
	if !g.done && len(p) > 0 {
		g.done = true
		p = slices.Clone(p)
		p[len(p)/2] ^= 1
	}
	return g.ResponseWriter.Write(p)
}

// Of an index of which one platform is here, that one is pushed; more than is
// here cannot be asked for.
func TestPushOfAnIndexInPart(t *testing.T) {
	addr := registry(t, "", "")
	push(t, addr+"/app:amd64", nil)
	push(t, addr+"/app:arm64", nil, busybox.Arch("arm64"))
	index(t, addr, "app", "all", "amd64", "arm64")
	h := open(t)
	img, err := h.Pull(h.ctx, addr+"/app:all", containerd.PullOptions{Platform: "linux/arm64"})
	h.must(err)
	h.must(h.Tag(h.ctx, addr+"/app:all", addr+"/other:1"))
	got, err := h.Push(h.ctx, addr+"/other:1", containerd.PushOptions{})
	h.must(err)
	if got.Index == nil || got.Index.Digest.String() != img.Target || got.Target.Digest == got.Index.Digest {
		t.Errorf("pushed %+v of %s", got, img.Target)
	}
	pulled, err := h.Pull(h.ctx, addr+"/other:1", containerd.PullOptions{Platform: "linux/arm64"})
	h.must(err)
	if pulled.ID != img.ID {
		t.Errorf("pushed %s, the registry has %s", img.ID, pulled.ID)
	}
	if _, err := h.Push(h.ctx, addr+"/app:all", containerd.PushOptions{Platform: "linux/amd64"}); err == nil {
		t.Error("a platform that is not here was pushed")
	}
	descriptor, platforms, err := h.InspectRemote(h.ctx, addr+"/app:all", containerd.Auth{})
	h.must(err)
	if descriptor.Digest.String() != img.Target || len(platforms) != 2 || platforms[1].Architecture != "arm64" {
		t.Errorf("the registry has %+v for %v", descriptor, platforms)
	}
}

// A disk that is full ends a pull with an error that says so; with room again
// the same pull goes on.
func TestPullOntoAFullDisk(t *testing.T) {
	const size = 24 << 20
	addr := registry(t, "", "")
	push(t, addr+"/app:1", []string{"--dest-decompress"}, busybox.Layer(busybox.File{Path: "/big", Body: noise(size)}))
	cfg := config(t)
	if err := os.MkdirAll(cfg.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", cfg.Root, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(cfg.Root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	h := openConfig(t, cfg)
	_, err := h.Pull(h.ctx, addr+"/app:1", containerd.PullOptions{})
	if err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), addr) {
		t.Errorf("with a full disk: %v", err)
	}
	if _, err := h.Image(h.ctx, addr+"/app:1"); !errdefs.IsNotFound(err) {
		t.Errorf("half an image is visible: %v", err)
	}
	if err := unix.Mount("tmpfs", cfg.Root, "tmpfs", unix.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	_, err = h.Pull(h.ctx, addr+"/app:1", containerd.PullOptions{})
	h.must(err)
	h.create("x", "", addr+"/app:1", "true")
	if got := h.read("x", "big"); got != noise(size) {
		t.Error("the layer differs")
	}
}
