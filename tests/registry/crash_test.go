package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

const (
	size    = 8 << 20
	patient = time.Minute
)

// front hands requests on to a registry and back, except that the transfer of
// the one big layer stops half way until it is let go on.
type front struct {
	proxy *httputil.ReverseProxy
	half  chan struct{} // closed when half of the layer has passed
	open  chan struct{} // closed to let everything pass

	once    sync.Once
	mu      sync.Mutex
	ranges  []string
	uploads map[int64]int // finished ones, by size
}

func newFront(t *testing.T, addr string) (*front, string) {
	f := &front{half: make(chan struct{}), open: make(chan struct{}), uploads: map[int64]int{}}
	f.proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: addr})
		r.Out.Host = r.In.Host // uploads go on through here
	}, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	return f, serving(t, f)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	blobs := strings.Contains(r.URL.Path, "/blobs/")
	switch {
	case blobs && r.Method == http.MethodGet:
		if v := r.Header.Get("Range"); v != "" {
			f.mu.Lock()
			f.ranges = append(f.ranges, v)
			f.mu.Unlock()
		}
		f.proxy.ServeHTTP(&slowWriter{ResponseWriter: w, f: f}, r)
	case blobs && r.Method == http.MethodPut:
		length := r.ContentLength
		r.Body = &slowReader{ReadCloser: r.Body, f: f}
		f.proxy.ServeHTTP(w, r)
		f.mu.Lock()
		f.uploads[length]++
		f.mu.Unlock()
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

// stop waits where half of the layer has passed.
func (f *front) stop() {
	f.once.Do(func() { close(f.half) })
	select {
	case <-f.open:
	case <-time.After(patient):
	}
}

type slowWriter struct {
	http.ResponseWriter
	f    *front
	sent int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	if s.sent += len(p); s.sent > size/2 {
		if c, ok := s.ResponseWriter.(http.Flusher); ok {
			c.Flush()
		}
		s.f.stop()
	}
	return s.ResponseWriter.Write(p)
}

type slowReader struct {
	io.ReadCloser
	f    *front
	read int
}

func (s *slowReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.read += n; s.read > size/2 {
		s.f.stop()
	}
	return n, err
}

func layered() busybox.Option {
	return busybox.Layer(busybox.File{Path: "/big", Body: noise(size)})
}

// A daemon that is killed in a pull shows no half image; the next pull goes on
// where that one was.
func TestDaemonKilledInAPull(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", []string{"--dest-decompress"}, layered())
	f, through := newFront(t, addr)
	pull := d.DockerCommand(d.Dir, "pull", through+"/app:1")
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, f.half)
	harness.Eventually(t, "a part of the layer is on the disk", func() error {
		parts, err := filepath.Glob(filepath.Join(d.Data(), "containerd/io.containerd.content.v1.content/ingest/*/data"))
		for _, p := range parts {
			if st, err := os.Stat(p); err == nil && st.Size() >= size/4 {
				return nil
			}
		}
		return fmt.Errorf("there are %q, %v", parts, err)
	})
	d.Kill9()
	if pull.Wait() == nil {
		t.Error("the pull did not notice that the daemon died")
	}
	close(f.open)
	d.Launch()
	if out := d.MustDocker("images", "-aq", through+"/app"); out != "" {
		t.Errorf("half an image is visible: %s", out)
	}
	d.MustDocker("pull", through+"/app:1")
	if len(f.ranges) == 0 || strings.HasPrefix(f.ranges[0], "bytes=0-") {
		t.Errorf("ranges asked for: %q", f.ranges)
	}
	if out := d.MustDocker("run", "--rm", through+"/app:1", "wc", "-c", "/big"); !strings.HasPrefix(out, "8388608 ") {
		t.Errorf("the layer has %s", out)
	}
}

// A daemon that is killed in a push leaves no half image in the registry; the
// next push brings over what is left.
func TestDaemonKilledInAPush(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/made:1", []string{"--dest-decompress"}, layered())
	f, through := newFront(t, addr)
	d.MustDocker("pull", addr+"/made:1")
	d.MustDocker("save", "-o", d.Dir+"/image.tar", addr+"/made:1") // loaded, it comes from no registry
	d.MustDocker("rmi", addr+"/made:1")
	d.MustDocker("load", "-i", d.Dir+"/image.tar")
	d.MustDocker("tag", addr+"/made:1", through+"/app:1")
	push := d.DockerCommand(d.Dir, "push", through+"/app:1")
	if err := push.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, f.half)
	d.Kill9()
	if push.Wait() == nil {
		t.Error("the push did not notice that the daemon died")
	}
	close(f.open)
	d.Launch()
	if r := d.FailDocker("pull", addr+"/app:1"); !strings.Contains(r.Stderr, "manifest unknown") {
		t.Errorf("half an image has a name: %v", r)
	}
	d.MustDocker("push", through+"/app:1")
	f.mu.Lock()
	for length, n := range f.uploads {
		if n > 1 {
			t.Errorf("a blob of %d bytes travelled %d times", length, n)
		}
	}
	f.mu.Unlock()
	d.MustDocker("rmi", through+"/app:1", addr+"/made:1")
	d.MustDocker("pull", addr+"/app:1")
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patient):
		t.Fatal("the transfer did not come to its half")
	}
}
