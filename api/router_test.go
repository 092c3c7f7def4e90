package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/api/client"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/common"
	moby "github.com/moby/moby/client"
	"gopkg.in/yaml.v3"
)

// specification is what we need of the Engine API's definition.
type specification struct {
	BasePath string                               `yaml:"basePath"`
	Paths    map[string]map[string]map[string]any `yaml:"paths"`
}

// readSpecification reads the definition that belongs to the types we build on.
func readSpecification(t *testing.T) specification {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/moby/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "swagger.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var s specification
	if err := yaml.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Paths) < 50 {
		t.Fatalf("the definition has %d paths only", len(s.Paths))
	}
	return s
}

func TestVersionsFollowTheTypes(t *testing.T) {
	if got, want := "/v"+newest.String(), readSpecification(t).BasePath; got != want {
		t.Errorf("newest version is %s, the types are of %s", got, want)
	}
	if newest.String() != moby.MaxAPIVersion {
		t.Errorf("newest version is %s, the client's is %s", newest, moby.MaxAPIVersion)
	}
}

// Every endpoint of the specification is served, or refused by its name.
func TestEveryEndpointIsKnown(t *testing.T) {
	h := newHandler(refusing(), "")
	for path, methods := range readSpecification(t).Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE"}, method) {
				continue
			}
			asked := strings.NewReplacer("{id}", "x", "{name}", "registry.example/a/b").Replace(path)
			if !strings.HasPrefix(path, "/images/") && !strings.HasPrefix(path, "/plugins/") && !strings.HasPrefix(path, "/distribution/") {
				asked = strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path)
			}
			for _, prefix := range []string{"", "/v1.40", "/v" + newest.String()} {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(method, prefix+asked, strings.NewReader("{}"))
				r.Header.Set("Content-Type", "application/json")
				h.ServeHTTP(w, r)
				switch w.Code {
				case http.StatusNotFound, http.StatusMethodNotAllowed:
					if strings.HasPrefix(path, "/plugins/") { // there are none
						continue
					}
					t.Errorf("%s %s%s: %d %s", method, prefix, asked, w.Code, w.Body)
				case http.StatusNotImplemented:
					var e common.ErrorResponse
					if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || !strings.HasSuffix(e.Message, "is not implemented by Gantry") {
						t.Errorf("%s %s%s: %s", method, prefix, asked, w.Body)
					}
				}
			}
		}
	}
}

func TestUnknownPaths(t *testing.T) {
	h := newHandler(refusing(), "")
	for _, asked := range []string{"GET /", "GET /nothing", "POST /_ping", "GET /v1.47/nothing", "GET /containers/x/nothing", "GET /images/a/b", "POST /images/json/x", "PATCH /containers/json", "POST /gantry/projects/p/dance"} {
		method, path, _ := strings.Cut(asked, " ")
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		var e common.ErrorResponse
		if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code != http.StatusNotFound || err != nil || e.Message == "" {
			t.Errorf("%s: %d %s", asked, w.Code, w.Body)
		}
	}
}

func TestVersionPrefix(t *testing.T) {
	h := newHandler(refusing(), "7")
	for path, want := range map[string]struct {
		status  int
		message string
	}{
		"/_ping":        {200, ""},
		"/v1.40/_ping":  {200, ""},
		"/v1.56/_ping":  {200, ""},
		"/v1.39/_ping":  {400, "client version 1.39 is too old. Minimum supported API version is 1.40"},
		"/v0.9/_ping":   {400, "client version 0.9 is too old"},
		"/v1.57/_ping":  {400, "client version 1.57 is too new. Maximum supported API version is 1.56"},
		"/v2.0/_ping":   {400, "client version 2.0 is too new"},
		"/vx.y/_ping":   {404, "page not found"},
		"/v1/_ping":     {404, "page not found"},
		"/v1.-1/_ping":  {404, "page not found"},
		"/v1.56x/_ping": {404, "page not found"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.message) {
			t.Errorf("GET %s: %d %s, want %d %s", path, w.Code, w.Body, want.status, want.message)
		}
		head := w.Header()
		if head.Get("Api-Version") != "1.56" || head.Get("Ostype") != "linux" || head.Get("Docker-Experimental") != "false" || head.Get("Server") != "Gantry/7 (linux)" {
			t.Errorf("GET %s: headers %v", path, head)
		}
	}
}

func TestPing(t *testing.T) {
	s := serveBackends(t, refusing())
	c := s.client(t)
	got, err := c.Ping(testContext(t), moby.PingOptions{NegotiateAPIVersion: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.APIVersion != newest.String() || got.OSType != "linux" || got.Experimental || got.BuilderVersion != "2" {
		t.Errorf("ping: %+v", got)
	}
	for _, method := range []string{"GET", "HEAD"} {
		w := httptest.NewRecorder()
		newHandler(refusing(), "").ServeHTTP(w, httptest.NewRequest(method, "/_ping", nil))
		if want := map[string]string{"GET": "OK", "HEAD": ""}[method]; w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s /_ping: %d %q", method, w.Code, w.Body)
		}
	}
	v, err := c.ServerVersion(testContext(t), moby.ServerVersionOptions{})
	if err != nil || v.Version != "test" || v.APIVersion != newest.String() || v.MinAPIVersion != oldest.String() || v.Os != "linux" {
		t.Errorf("version: %+v, %v", v, err)
	}
}

// Clients that look for an object of any kind ask for plugins too.
func TestThereAreNoPlugins(t *testing.T) {
	c := serveBackends(t, refusing()).client(t)
	if got, err := c.PluginList(testContext(t), moby.PluginListOptions{}); err != nil || len(got.Items) != 0 {
		t.Errorf("list: %+v, %v", got, err)
	}
	if _, err := c.PluginInspect(testContext(t), "vendor/name:1", moby.PluginInspectOptions{}); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "vendor/name:1") {
		t.Errorf("inspect: %v", err)
	}
}

// A web page that a browser shows must not reach the daemon through loopback.
func TestForeignPagesAreRefused(t *testing.T) {
	ls, err := Listen([]string{"tcp://127.0.0.1:0"}, "")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(newHandler(refusing(), ""))
	srv.Listener.Close()
	srv.Listener = ls[0]
	srv.Start()
	t.Cleanup(srv.Close)
	ask := func(method, host, origin string) int {
		r, err := http.NewRequestWithContext(testContext(t), method, srv.URL+"/_ping", nil)
		if method == "POST" {
			r, err = http.NewRequestWithContext(testContext(t), method, srv.URL+"/containers/x/start", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, c := range []struct {
		method, host, origin string
		want                 int
	}{
		{"GET", "", "", 200},
		{"GET", "localhost:1", "", 200},
		{"GET", "[::1]:1", "", 200},
		{"GET", "evil.example", "", 403},
		{"GET", "192.0.2.1:80", "", 403},
		{"POST", "", "", 503}, // reaches the backend
		{"POST", "", "http://evil.example", 403},
	} {
		if got := ask(c.method, c.host, c.origin); got != c.want {
			t.Errorf("%s with Host %q, Origin %q: %d, want %d", c.method, c.host, c.origin, got, c.want)
		}
	}
}

func TestBodiesMustBeJSON(t *testing.T) {
	h := newHandler(refusing(), "")
	for _, c := range []struct{ contentType, body, message string }{
		{"text/plain", "{}", "unsupported Content-Type header"},
		{"", "{}", "unsupported Content-Type header"},
		{"application/json", "", "is empty"},
		{"application/json", "{", "invalid JSON"},
		{"application/json", "{} {}", "content after"},
		{"application/json", "[]", "invalid JSON"},
	} {
		for _, path := range []string{"/containers/create", "/volumes/create", "/gantry/projects/p/" + string(client.VerbUp)} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.contentType)
			h.ServeHTTP(w, r)
			if w.Code != 400 || !strings.Contains(w.Body.String(), c.message) {
				t.Errorf("POST %s with %q of %q: %d %s, want 400 %s", path, c.body, c.contentType, w.Code, w.Body, c.message)
			}
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/volumes/create", io.MultiReader(strings.NewReader(`{"Name":"`), io.LimitReader(endless{}, maxBody)))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too large a body: %d %s", w.Code, w.Body)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}
