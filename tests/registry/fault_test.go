package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// before runs a front of a registry, which sees requests first; those that it
// answers go no further.
func before(t *testing.T, addr string, answers func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: addr})
		r.Out.Host = r.In.Host
	}, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	srv.Config.ErrorLog = quiet()
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// firsts counts what is asked for, by method and path.
type firsts struct{ seen sync.Map }

func (f *firsts) times(r *http.Request) int32 {
	n, _ := f.seen.LoadOrStore(r.Method+r.URL.Path, new(atomic.Int32))
	return n.(*atomic.Int32).Add(1)
}

func blobGet(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
}

// A registry that has bad moments is given the time that it asks for, and is
// asked again; it says so. One that wants to be left alone for long ends the pull.
func TestBadMoments(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", nil, busybox.Layer(busybox.File{Path: "/a", Body: "a"}))
	manifests := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }
	for name, c := range map[string]struct {
		statuses []int
		after    string
		only     func(*http.Request) bool
		says     string
	}{
		"a manifest too often": {[]int{429}, "1", manifests, "Retrying in 1 second"},
		"a blob too often":     {[]int{429}, "", blobGet, "Retrying in 1 second"},
		"faults":               {[]int{503, 502}, "", blobGet, ""},
	} {
		var seen firsts
		front := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
			if !c.only(r) {
				return false
			}
			n := int(seen.times(r))
			if n > len(c.statuses) {
				return false
			}
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.WriteHeader(c.statuses[n-1])
			return true
		})
		if out := d.MustDocker("pull", front+"/app:1"); !strings.Contains(out, c.says) {
			t.Errorf("%s: nothing is said in %s", name, out)
		}
		d.MustDocker("rmi", front+"/app:1")
	}
	front := before(t, addr, func() func(w http.ResponseWriter, r *http.Request) bool {
		var seen firsts
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !manifests(r) || seen.times(r) > 1 {
				return false
			}
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
	}())
	if r := d.DockerInput("FROM "+front+"/app:1\n", "build", "--pull", "-t", "built", "-"); r.Code != 0 {
		t.Errorf("a build gives up at once: %v", r)
	}
	d.MustDocker("rmi", "built")
	var plans firsts
	front = before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
		if !manifests(r) || plans.times(r) > 1 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	dir := d.Project("busy", "name: busy\nservices:\n  a:\n    image: "+front+"/app:1\n")
	if out := d.Must(dir, "up", "--dry-run"); !strings.Contains(out, "pull image "+front+"/app:1") {
		t.Errorf("the plan is %s", out)
	}
	var asked atomic.Int32
	limited := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}`)
		return true
	})
	has(t, d.FailDocker("pull", limited+"/app:1").Stderr, limited, "toomanyrequests: You have reached your pull rate limit.", "asked again in 1h0m0s")
	if n := asked.Load(); n > 2 { // HEAD and, for its words, GET
		t.Errorf("a registry with a limit was asked %d times", n)
	}
}

// Blobs may lie elsewhere. What opens the registry is not sent there, be it
// another port of the same host.
func TestBlobsElsewhere(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", nil)
	var got, leaked atomic.Int32
	elsewhere := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
		got.Add(1)
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			leaked.Add(1)
		}
		return false
	})
	registry := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user != "user" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if blobGet(r) {
			http.Redirect(w, r, "http://"+elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	})
	if r := d.DockerInput("secret", "login", "-u", "user", "--password-stdin", registry); r.Code != 0 {
		t.Fatalf("login: %v", r)
	}
	d.MustDocker("pull", registry+"/app:1")
	if got.Load() == 0 || leaked.Load() != 0 {
		t.Errorf("of %d requests elsewhere %d had credentials", got.Load(), leaked.Load())
	}
}

// Connections that are cut again and again, and servers that know no ranges or
// wrong ones, only cost time: what arrives is what was sent.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	d := start(t, `"max-download-attempts": 20`)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", nil, layered())
	for name, change := range map[string]func(*http.Request){
		"resumed":        func(*http.Request) {},
		"without ranges": func(r *http.Request) { r.Header.Del("Range") },
		"a wrong range": func(r *http.Request) {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=7-")
			}
		},
	} {
		var cuts atomic.Int32
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			change(r.Out)
		}, ErrorLog: quiet()}
		front := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
			if !blobGet(r) {
				return false
			}
			if n := cuts.Add(1); n <= 6 {
				w = &cut{ResponseWriter: w, left: int(n) * size / 9}
			}
			proxy.ServeHTTP(w, r)
			return true
		})
		d.MustDocker("pull", "-q", front+"/app:1")
		if cuts.Load() < 3 {
			t.Errorf("%s: nothing was cut", name)
		}
		if out := d.MustDocker("run", "--rm", front+"/app:1", "sha256sum", "/big"); !strings.HasPrefix(out, digest.FromString(noise(size)).Encoded()) {
			t.Errorf("%s: the layer has %s", name, out)
		}
		d.MustDocker("rmi", front+"/app:1")
	}
}

type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// A blob that comes byte by byte can be waited for, and no longer than one
// wants: a pull that is interrupted ends, here and at the registry.
func TestInterruptedPull(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", nil, layered())
	begun, ended := make(chan struct{}), make(chan struct{})
	var once, done sync.Once
	front := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
		if !blobGet(r) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write([]byte{31})
		http.NewResponseController(w).Flush()
		once.Do(func() { close(begun) })
		<-r.Context().Done()
		done.Do(func() { close(ended) })
		return true
	})
	cmd := d.DockerCommand(d.Dir, "pull", front+"/app:1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, begun)
	cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err == nil {
		t.Error("an interrupted pull succeeded")
	}
	await(t, ended)
	if out := d.MustDocker("images", "-aq", front+"/app"); out != "" {
		t.Errorf("half an image is visible: %s", out)
	}
	// What has come stays for the next pull, or until images are pruned.
	parts := func() []string {
		found, err := filepath.Glob(filepath.Join(d.Data(), "containerd/io.containerd.content.v1.content/ingest/*/data"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(parts()) == 0 {
		t.Error("nothing is left to go on with")
	}
	d.MustDocker("image", "prune", "-f", "--filter", "label=none")
	if len(parts()) == 0 {
		t.Error("it was pruned, though others were asked for")
	}
	d.MustDocker("image", "prune", "-f")
	if left := parts(); len(left) > 0 {
		t.Errorf("pruning leaves %q", left)
	}
}

// What an image is made of is looked at before anything is named: types that no
// file system can be made of, more layers than one can have, contents that lie
// where the image says, answers without an end.
func TestImagesThatCannotBe(t *testing.T) {
	t.Parallel()
	d := start(t, `"max-download-attempts": 1`)
	h := newHoard()
	var strayed atomic.Int32
	stray := serving(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Write([]byte(`{"schemaVersion":2,"annotations":{"a":"`))
		for r.Context().Err() == nil && r.Method == http.MethodGet {
			if _, err := w.Write([]byte(strings.Repeat("a", 1<<16))); err != nil {
				return
			}
		}
	}
	addr := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/manifests/endless") {
			endless(w, r)
			return
		}
		h.ServeHTTP(w, r)
	}))
	layers := [][]byte{[]byte(strings.Repeat("\x00", 1024))}
	for name, c := range map[string]struct {
		change func(*ocispec.Manifest)
		want   string
	}{
		"type":      {func(m *ocispec.Manifest) { m.Layers[0].MediaType = "application/x-unheard-of" }, `of the type "application/x-unheard-of", which is not supported`},
		"encrypted": {func(m *ocispec.Manifest) { m.Layers[0].MediaType += "+encrypted" }, "+encrypted"},
		"layers": {func(m *ocispec.Manifest) {
			for range 10000 {
				m.Layers = append(m.Layers, m.Layers[0])
			}
		}, "10001 layers"},
		"elsewhere": {func(m *ocispec.Manifest) {
			m.Layers[0].MediaType = ocispec.MediaTypeImageLayerNonDistributableGzip //nolint:staticcheck // older images have it
			m.Layers[0].Digest, m.Layers[0].URLs = digest.FromString("elsewhere"), []string{"http://" + stray + "/layer"}
		}, digest.FromString("elsewhere").String()},
	} {
		h.image(t, name, nil, layers, c.change)
		if r := d.FailDocker("pull", "-q", addr+"/x:"+name); !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: no %q in %v", name, c.want, r)
		}
	}
	if strayed.Load() > 0 {
		t.Error("an image sent the daemon elsewhere")
	}
	has(t, d.FailDocker("pull", "-q", addr+"/x:endless").Stderr, addr, "sends more than it should")
	if got := d.MustDocker("images", "-aq", addr+"/x"); got != "" {
		t.Errorf("half an image is visible: %s", got)
	}
}

// Lists of tags end, whatever a registry says.
func TestEndlessTags(t *testing.T) {
	t.Parallel()
	d := start(t)
	var pages atomic.Int32
	for name, link := range map[string]func() string{
		"comes again": func() string { return `</v2/x/tags/list?last=a>; rel="next"` },
		"more than":   func() string { return fmt.Sprintf(`</v2/x/tags/list?last=%d>; rel="next"`, pages.Add(1)) },
	} {
		var many []string
		for i := range 5000 {
			many = append(many, fmt.Sprintf("t%d", i))
		}
		addr := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", link())
			json.NewEncoder(w).Encode(map[string]any{"name": "x", "tags": many})
		}))
		has(t, d.FailDocker("pull", "-a", addr+"/x").Stderr, "list of tags of x", name)
	}
}
