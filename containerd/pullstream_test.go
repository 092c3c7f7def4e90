package containerd_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"gantry/containerd"
	"gantry/tests/busybox"
)

// A layer that comes wrong was unpacked while it came: nothing of that may
// stay, whether the archive could be read or not.
func TestPullUnpacksNothingThatCameWrong(t *testing.T) {
	addr := registry(t, "", "")
	const size = 6 << 20
	layer := busybox.Layer(busybox.File{Path: "/big", Body: noise(size)})
	push(t, addr+"/app:tar", []string{"--preserve-digests"}, layer)
	push(t, addr+"/app:gzip", []string{"--dest-compress"}, layer)
	var mu sync.Mutex
	wrong := map[string]int{} // how often each blob still comes wrong
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			mu.Lock()
			times, seen := wrong[r.URL.Path]
			if !seen {
				times = wrong["each"]
			}
			wrong[r.URL.Path] = max(0, times-1)
			mu.Unlock()
			if times > 0 {
				w = &spoiler{ResponseWriter: w, at: size / 2}
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	defer srv.Close()
	for _, tag := range []string{"tar", "gzip"} {
		cfg := config(t)
		cfg.Registries.Attempts = 2
		h := openConfig(t, cfg)
		ref := srv.Listener.Addr().String() + "/app:" + tag
		again := func(each int) {
			mu.Lock()
			defer mu.Unlock()
			clear(wrong)
			wrong["each"] = each
		}
		again(100)
		if _, err := h.Pull(h.ctx, ref, containerd.PullOptions{}); err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("%s: a layer that always comes wrong: %v", tag, err)
		}
		if _, err := h.Image(h.ctx, ref); !errdefs.IsNotFound(err) {
			t.Errorf("%s: the image is there: %v", tag, err)
		}
		if keys, err := h.Snapshots(h.ctx); err != nil || len(keys) > 1 {
			t.Errorf("%s: snapshots %q, %v", tag, keys, err)
		}
		again(1)
		img, err := h.Pull(h.ctx, ref, containerd.PullOptions{})
		h.must(err)
		h.create("x", "", ref, "true")
		if h.read("x", "big") != noise(size) {
			t.Errorf("%s: the file differs", tag)
		}
		if keys, err := h.Snapshots(h.ctx); err != nil || len(keys) != len(img.DiffIDs)+1 {
			t.Errorf("%s: snapshots %q of %d layers and a container, %v", tag, keys, len(img.DiffIDs), err)
		}
	}
}

// spoiler changes one byte of what lies behind an offset.
type spoiler struct {
	http.ResponseWriter
	at int
}

func (s *spoiler) Write(p []byte) (int, error) {
	if s.at >= 0 && s.at < len(p) {
		p = append([]byte(nil), p...)
		p[s.at] ^= 0xff
	}
	s.at -= len(p)
	return s.ResponseWriter.Write(p)
}
