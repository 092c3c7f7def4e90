package containerd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"gantry/containerd"
	"gantry/tests/busybox"
	"gantry/tests/harness"
)

func registry(t *testing.T, user, password string) string {
	t.Helper()
	return harness.Registry(t, user, password)
}

func push(t *testing.T, to string, args []string, opts ...busybox.Option) {
	t.Helper()
	harness.Push(t, to, args, opts...)
}

// statuses collects progress by layer.
type statuses struct {
	mu    sync.Mutex
	layer map[string][]string
	bytes map[string]int64
}

func (s *statuses) report(p containerd.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.layer == nil {
		s.layer, s.bytes = map[string][]string{}, map[string]int64{}
	}
	if l := s.layer[p.ID]; len(l) == 0 || l[len(l)-1] != p.Status {
		s.layer[p.ID] = append(l, p.Status)
	}
	if p.Total > 0 && p.Current > p.Total {
		s.layer[p.ID] = append(s.layer[p.ID], fmt.Sprintf("%s %d of %d", p.Status, p.Current, p.Total))
	}
	s.bytes[p.ID] = p.Total
}

func TestPull(t *testing.T) {
	addr := registry(t, "", "")
	h := open(t)
	ref := addr + "/team/app:1"
	push(t, ref, nil, described()...)
	remote, err := h.Resolve(h.ctx, ref, containerd.PullOptions{})
	h.must(err)
	if _, err := h.Image(h.ctx, ref); !errdefs.IsNotFound(err) {
		t.Errorf("after only resolving: %v", err)
	}
	var s statuses
	img, err := h.Pull(h.ctx, ref, containerd.PullOptions{Progress: s.report})
	h.must(err)
	if img.Target != remote || len(img.Config.Cmd) == 0 || img.Config.Healthcheck == nil || len(img.DiffIDs) != 2 || img.Names[0] != ref {
		t.Errorf("image %+v, resolved %s", img, remote)
	}
	layers := 0
	for id, list := range s.layer {
		if id == ref {
			continue
		}
		layers++
		if got := strings.Join(list, ", "); got != "Pulling fs layer, Downloading, Download complete, Extracting, Pull complete" || s.bytes[id] == 0 {
			t.Errorf("layer %s: %s of %d bytes", id, got, s.bytes[id])
		}
	}
	if layers != 2 {
		t.Errorf("progress of %d layers", layers)
	}
	h.create("x", "", ref, "sh", "-c", "exit 4")
	h.start("x")
	if x := h.exit("x"); x.Code != 4 {
		t.Errorf("exit %+v", x)
	}
	h.remove("x")

	// Again, nothing is downloaded, but it counts as pulled now.
	before := img.Pulled
	var again statuses
	img, err = h.Pull(h.ctx, ref, containerd.PullOptions{Progress: again.report})
	h.must(err)
	for id, list := range again.layer {
		if id != ref && list[0] != "Already exists" {
			t.Errorf("layer %s: %q", id, list)
		}
	}
	if !img.Pulled.After(before) {
		t.Errorf("pulled at %s, before at %s", img.Pulled, before)
	}
	if _, err := h.Pull(h.ctx, addr+"/team/app@"+remote, containerd.PullOptions{}); err != nil {
		t.Errorf("by digest: %v", err)
	}
}

func TestPullErrors(t *testing.T) {
	open401 := registry(t, "user", "secret")
	addr := registry(t, "", "")
	push(t, addr+"/app:1", nil)
	push(t, open401+"/app:1", []string{"--dest-creds", "user:secret"})
	h := open(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	h.must(err)
	dead.Close()
	answer := func(status int, body string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}))
		t.Cleanup(srv.Close)
		return srv.Listener.Addr().String()
	}
	limited := answer(http.StatusTooManyRequests, "")
	broken := answer(http.StatusInternalServerError, "")
	forbidden := answer(http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"go away"}]}`)
	for _, c := range []struct {
		ref  string
		auth containerd.Auth
		want func(error) bool
		text string
	}{
		{addr + "/app:2", containerd.Auth{}, errdefs.IsNotFound, "manifest unknown"},
		{addr + "/none:1", containerd.Auth{}, errdefs.IsNotFound, "manifest unknown"},
		{open401 + "/app:1", containerd.Auth{}, errdefs.IsNotFound, "login"},
		{open401 + "/app:1", containerd.Auth{Username: "user", Password: "wrong"}, errdefs.IsNotFound, "401"},
		{dead.Addr().String() + "/app:1", containerd.Auth{}, errdefs.IsUnavailable, "cannot be reached"},
		{limited + "/app:1", containerd.Auth{}, errdefs.IsResourceExhausted, "429"},
		{broken + "/app:1", containerd.Auth{}, errdefs.IsUnavailable, "500"},
		{forbidden + "/app:1", containerd.Auth{}, errdefs.IsPermissionDenied, "denied: go away"},
		{"No Name", containerd.Auth{}, errdefs.IsInvalidArgument, "No Name"},
	} {
		ask := map[string]func() error{
			"Resolve": func() error { _, err := h.Resolve(h.ctx, c.ref, containerd.PullOptions{Auth: c.auth}); return err },
			"Pull":    func() error { _, err := h.Pull(h.ctx, c.ref, containerd.PullOptions{Auth: c.auth}); return err },
		}
		for name, f := range ask {
			if err := f(); err == nil || !c.want(err) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), strings.Split(c.ref, "/")[0]) {
				t.Errorf("%s %s: %v", name, c.ref, err)
			}
		}
	}
	if _, err := h.Pull(h.ctx, open401+"/app:1", containerd.PullOptions{Auth: containerd.Auth{Username: "user", Password: "secret"}}); err != nil {
		t.Errorf("with a login: %v", err)
	}
	_, err = h.Pull(h.ctx, addr+"/app:1", containerd.PullOptions{Platform: "x/y/z/z"})
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("a bad platform: %v", err)
	}
}

// A pull that was cut off goes on where it was.
func TestPullResumes(t *testing.T) {
	addr := registry(t, "", "")
	const size = 8 << 20
	push(t, addr+"/app:1", []string{"--dest-decompress"}, busybox.Layer(busybox.File{Path: "/big", Body: noise(size)}))
	var (
		cut     atomic.Bool
		mu      sync.Mutex
		resumed []string
	)
	cut.Store(true)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cut.Load() && strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
			if r.Header.Get("Range") != "" {
				panic(http.ErrAbortHandler)
			}
			proxy.ServeHTTP(&cutter{ResponseWriter: w, left: size / 2}, r)
			return
		}
		if v := r.Header.Get("Range"); v != "" && r.Method == http.MethodGet {
			mu.Lock()
			resumed = append(resumed, v)
			mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	defer srv.Close()
	srv.Config.ErrorLog = nil
	h := open(t)
	ref := srv.Listener.Addr().String() + "/app:1"
	if _, err := h.Pull(h.ctx, ref, containerd.PullOptions{}); err == nil {
		t.Fatal("a pull that was cut off succeeded")
	}
	cut.Store(false)
	var s statuses
	if _, err := h.Pull(h.ctx, ref, containerd.PullOptions{Progress: s.report}); err != nil {
		t.Fatal(err)
	}
	if len(resumed) == 0 || strings.HasPrefix(resumed[0], "bytes=0-") {
		t.Errorf("ranges asked for: %q", resumed)
	}
	h.create("x", "", ref, "true")
	if got := h.read("x", "big"); got != noise(size) {
		t.Error("the resumed layer differs")
	}
}

// cutter ends a response in its middle.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.left = 0
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// Many pulls of one image at once are one download, of which all are told; it
// goes on when one of them gives up, be it the first.
func TestPullTogether(t *testing.T) {
	const many = 8
	addr := registry(t, "", "")
	push(t, addr+"/app:1", nil, described()...)
	var (
		asked sync.Map // how often, by path
		begun sync.WaitGroup
		pass  = make(chan struct{})
	)
	begun.Add(many)
	front := between(t, addr, func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			n, _ := asked.LoadOrStore(r.URL.Path, new(atomic.Int32))
			n.(*atomic.Int32).Add(1)
			<-pass
		}
		return w, r
	})
	h := open(t)
	first, cancel := context.WithCancel(h.ctx)
	gone := make(chan struct{})
	go func() {
		begun.Wait()
		cancel()
		<-gone
		close(pass)
	}()
	h.parallel(many, func(i int) error {
		ctx, complete := h.ctx, 0
		if i == 0 {
			ctx = first
		}
		told := sync.OnceFunc(begun.Done)
		img, err := h.Pull(ctx, front+"/app:1", containerd.PullOptions{Progress: func(p containerd.Progress) {
			told()
			if p.Status == "Pull complete" {
				complete++
			}
		}})
		if i == 0 {
			close(gone)
			if !errors.Is(err, context.Canceled) {
				return fmt.Errorf("cancelled: %v", err)
			}
			return nil
		}
		if err == nil && (len(img.DiffIDs) != 2 || complete != 2) {
			err = fmt.Errorf("image %+v, told of %d layers", img, complete)
		}
		return err
	})
	asked.Range(func(path, n any) bool {
		if got := n.(*atomic.Int32).Load(); got != 1 {
			t.Errorf("%s was asked for %d times", path, got)
		}
		return true
	})
	if _, err := h.Image(h.ctx, front+"/app:1"); err != nil {
		t.Errorf("after all have gone: %v", err)
	}
}

// Of an index, the asked platform comes beside those that are here, and stays
// when another one goes; the host's comes without being asked.
func TestPullPlatform(t *testing.T) {
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	addr := registry(t, "", "")
	h := open(t)
	push(t, addr+"/app:host", nil, busybox.Env("A=host"))
	push(t, addr+"/app:other", nil, busybox.Env("A=other"), busybox.Arch(other))
	index(t, addr, "app", "all", "host", "other")
	img, err := h.Pull(h.ctx, addr+"/app:all", containerd.PullOptions{})
	h.must(err)
	if img.Architecture != runtime.GOARCH {
		t.Errorf("architecture %s", img.Architecture)
	}
	img, err = h.Pull(h.ctx, addr+"/app:all", containerd.PullOptions{Platform: "linux/" + other})
	h.must(err)
	if img.Architecture != other {
		t.Errorf("asked for %s, got %s", other, img.Architecture)
	}
	both, err := h.Image(h.ctx, addr+"/app:all")
	h.must(err)
	if both.Architecture != runtime.GOARCH || len(both.Platforms) != 2 || both.Platforms[1].ID != img.ID || both.Target != img.Target {
		t.Errorf("the name stands for %+v", both)
	}
	if byID, err := h.Image(h.ctx, img.ID); err != nil || byID.Architecture != other || !slices.Equal(byID.Names, both.Names) {
		t.Errorf("by its ID, the other one is %+v, %v", byID, err)
	}
	if both.Size <= img.Size {
		t.Errorf("%d bytes for one platform, %d for both", img.Size, both.Size)
	}
	h.must(h.Tag(h.ctx, img.ID, "lone:1")) // of one platform, by its ID
	lone, err := h.Image(h.ctx, "lone:1")
	h.must(err)
	if lone.ID != img.ID || lone.Target == both.Target || len(lone.Platforms) != 1 {
		t.Errorf("one platform, tagged, is %+v", lone)
	}
	if err := h.RemovePlatforms(h.ctx, both, both.Platforms[1:]); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "lone:1") {
		t.Errorf("all that another image is was removed: %v", err)
	}
	before, err := h.StoreSize(h.ctx)
	h.must(err)
	h.must(h.RemovePlatforms(h.ctx, both, both.Platforms[:1]))
	rest, err := h.Image(h.ctx, addr+"/app:all")
	h.must(err)
	if rest.ID != img.ID || len(rest.Platforms) != 1 {
		t.Errorf("without the host's, the name stands for %+v", rest)
	}
	if after, err := h.StoreSize(h.ctx); err != nil || after >= before {
		t.Errorf("the store had %d bytes, and has %d, %v", before, after, err)
	}
	variants, err := h.Variants(h.ctx, rest)
	h.must(err)
	if len(variants) != 2 || variants[0].Available || !variants[1].Available {
		t.Errorf("variants %+v", variants)
	}
	if _, err := h.Pull(h.ctx, addr+"/app:all", containerd.PullOptions{Platform: "linux/s390x"}); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "platform") {
		t.Errorf("a platform that is not there: %v", err)
	}
}

// index puts an index of two tags into the registry.
func index(t *testing.T, addr, repo, tag string, of ...string) {
	t.Helper()
	var manifests []string
	for _, o := range of {
		raw, err := exec.Command("skopeo", "inspect", "--tls-verify=false", "--format", `{{.Digest}} {{.Architecture}}`, "docker://"+addr+"/"+repo+":"+o).Output()
		if err != nil {
			t.Fatal(err)
		}
		size, err := exec.Command("skopeo", "inspect", "--tls-verify=false", "--raw", "docker://"+addr+"/"+repo+":"+o).Output()
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(raw))
		manifests = append(manifests, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d,"platform":{"os":"linux","architecture":%q}}`, f[0], len(size), f[1]))
	}
	body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(manifests, ",") + `]}`
	req, err := http.NewRequest(http.MethodPut, "http://"+addr+"/v2/"+repo+"/manifests/"+tag, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("putting an index: %s: %s", resp.Status, b)
	}
}

// A mirror stands in for docker.io; without it the registry itself is asked.
func TestPullMirror(t *testing.T) {
	addr := registry(t, "", "")
	push(t, addr+"/library/thing:1", nil, busybox.Env("FROM=mirror"))
	cfg := config(t)
	cfg.Registries.Mirrors = []string{"http://" + addr}
	h := openConfig(t, cfg)
	img, err := h.Pull(h.ctx, "thing:1", containerd.PullOptions{})
	h.must(err)
	if img.Names[0] != "docker.io/library/thing:1" || !strings.Contains(strings.Join(img.Config.Env, " "), "FROM=mirror") {
		t.Errorf("image %+v", img)
	}
}
