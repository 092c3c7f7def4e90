package containerd

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
)

// What a mirror has not, has broken or breaks off comes from the registry that
// it mirrors, and one line tells of it.
func TestMirrorsThatFail(t *testing.T) {
	body := []byte(strings.Repeat("layer ", 10000))
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(body), Size: int64(len(body))}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer origin.Close()
	for name, c := range map[string]struct {
		mirror http.HandlerFunc
		lines  int
	}{
		"has it not": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }, 0},
		"garbles":    {func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.ToUpper(body)) }, 1},
		"breaks off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "60000")
			w.Write(body[:100])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				c.mirror(w, r)
			}))
			srv.Start()
			defer srv.Close()
			var m mirrored
			var hosts []docker.RegistryHost
			for _, s := range []*httptest.Server{srv, origin} {
				h, err := Registries{}.host(s.Listener.Addr().String(), Auth{})
				if err != nil {
					t.Fatal(err)
				}
				h.Scheme = "http"
				hosts = append(hosts, h)
				m.each = append(m.each, docker.NewResolver(docker.ResolverOptions{Hosts: func(string) ([]docker.RegistryHost, error) { return []docker.RegistryHost{h}, nil }}))
			}
			m.Resolver = docker.NewResolver(docker.ResolverOptions{Hosts: func(string) ([]docker.RegistryHost, error) { return hosts, nil }})
			fetchers, err := m.fetchers(t.Context(), "reg.example/app:1")
			if err != nil {
				t.Fatal(err)
			}
			store, err := local.NewStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			logger := logrus.New()
			logger.SetOutput(&said)
			f := fetch{store: store, fetchers: fetchers, attempts: 3, log: logrus.NewEntry(logger)}
			if _, err := f.Handle(t.Context(), desc); err != nil {
				t.Fatal(err)
			}
			if got, err := content.ReadBlob(t.Context(), store, desc); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes came, %v", len(got), err)
			}
			if n := strings.Count(said.String(), "a mirror fails"); asked.Load() == 0 || n != c.lines {
				t.Errorf("the mirror was asked %d times, and %d lines tell of it:\n%s", asked.Load(), n, said.String())
			}
		})
	}
}
