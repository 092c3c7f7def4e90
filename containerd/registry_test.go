package containerd

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestInsecure(t *testing.T) {
	c := Registries{Insecure: []string{"reg.example", "other.example:5000", "10.1.0.0/16"}}
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true,
		"reg.example": true, "reg.example:5000": true, "other.example:5000": true, "other.example": false,
		"10.1.2.3:80": true, "10.2.0.1": false, "docker.io": false, "localhost.example": false,
	} {
		if got := c.insecure(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

// Credentials go to the registry alone, not to mirrors.
func TestMirrorsGetNoCredentials(t *testing.T) {
	c := Registries{Mirrors: []string{"https://mirror.example/base/"}}
	hosts, err := c.hosts("docker.io", Auth{RegistryToken: "secret"})
	if err != nil || len(hosts) != 2 {
		t.Fatalf("hosts %v: %v", hosts, err)
	}
	sent := func(h docker.RegistryHost, to string) string {
		req := &http.Request{URL: &url.URL{Scheme: "https", Host: to}, Header: h.Header.Clone()}
		if req.Header == nil {
			req.Header = http.Header{}
		}
		if err := h.Authorizer.Authorize(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		return req.Header.Get("Authorization")
	}
	if h := hosts[0]; h.Host != "mirror.example" || h.Path != "/base/v2" || sent(h, h.Host) != "" {
		t.Errorf("mirror %+v", h)
	}
	if h := hosts[1]; h.Host != "registry-1.docker.io" || sent(h, h.Host) != "Bearer secret" || sent(h, "storage.example") != "" {
		t.Errorf("registry %+v", h)
	}
	if hosts, err := c.hosts("example.com", Auth{}); err != nil || len(hosts) != 1 {
		t.Errorf("another registry has hosts %v: %v", hosts, err)
	}
	if _, err := (Registries{Mirrors: []string{"::"}}).hosts("docker.io", Auth{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a bad mirror: %v", err)
	}
}

// A certificate of an unknown authority is refused, in words, until the
// authority is in certs.d.
func TestCertificates(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	host := srv.Listener.Addr().String()
	get := func(c Registries) error {
		conf, err := c.tls(host)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, srv.URL, nil)
		if err != nil {
			return err
		}
		tr := &http.Transport{TLSClientConfig: conf}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	dir := t.TempDir()
	c := Registries{CertsDirs: []string{t.TempDir(), dir}}
	err := registryError("reg.example/app:1", get(c))
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "not trusted") || !strings.Contains(err.Error(), "reg.example") {
		t.Errorf("unknown authority: %v", err)
	}
	certs := filepath.Join(dir, host)
	if err := os.Mkdir(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(certs, "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(c); err != nil {
		t.Errorf("known authority: %v", err)
	}
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := get(c); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), file) {
		t.Errorf("rubbish: %v", err)
	}
}

func TestRegistryErrorNamesHost(t *testing.T) {
	lookup := &url.Error{Op: "Head", Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "reg.example"}}}
	err := registryError("reg.example/app:1", lookup)
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), `registry "reg.example" cannot be found`) {
		t.Errorf("%v", err)
	}
}

// A registry that stalls is told of as such, at whatever it was.
func TestRegistryErrorNamesStall(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	if err := here.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	_, stall := here.Read(make([]byte, 1))
	err := registryError("reg.example/app:1", &url.Error{Op: "Get", Err: stallError(stall)})
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), `registry "reg.example" has neither sent nor taken a byte for 5m0s`) {
		t.Errorf("%v", err)
	}
	if !transient(stallError(stall)) {
		t.Error("it is not tried again")
	}
}

func stallError(err error) error { return &net.OpError{Op: "read", Err: err} }

func TestRegistryErrorKeepsCancel(t *testing.T) {
	if err := registryError("x", context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := registryError("x", nil); err != nil {
		t.Errorf("%v", err)
	}
}

// What a mirror answers counts only when it has the image.
func TestMirrorsAnswerDoesNotHideTheRegistrys(t *testing.T) {
	answering := func(status int) remotes.Resolver {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(srv.Close)
		r, err := Registries{}.resolver(srv.Listener.Addr().String()+"/app:1", Auth{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return aimed{r, srv.Listener.Addr().String()}
	}
	m := mirrored{each: []remotes.Resolver{answering(http.StatusInternalServerError), answering(http.StatusNotFound), answering(http.StatusTooManyRequests)}}
	_, _, err := m.Resolve(context.Background(), "docker.io/library/app:1")
	if err = registryError("docker.io/library/app:1", err); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the registry's own answer is lost: %v", err)
	}
}

// aimed asks one server, whatever registry a reference names.
type aimed struct {
	remotes.Resolver
	host string
}

func (a aimed) Resolve(ctx context.Context, _ string) (string, ocispec.Descriptor, error) {
	return a.Resolver.Resolve(ctx, a.host+"/app:1")
}
