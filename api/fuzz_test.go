package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gantry/engine"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// taker accepts what it is given and does nothing with it.
type taker struct{ refuser }

func (taker) CreateContainer(_ context.Context, _, _ string, req container.CreateRequest) (container.CreateResponse, error) {
	_ = req.Config.Image + string(req.HostConfig.NetworkMode) // both are there
	return container.CreateResponse{ID: "x"}, nil
}

func (taker) ListContainers(context.Context, engine.ListOptions) ([]container.Summary, error) {
	return nil, nil
}

func (taker) Events(context.Context, time.Time, time.Time, engine.Filters) (<-chan events.Message, error) {
	c := make(chan events.Message)
	close(c)
	return c, nil
}

func takingHandler() http.Handler {
	b := refusing()
	tk := taker{refuser{context.Canceled}}
	b.lifecycle, b.inspector, b.events = tk, tk, tk
	return newHandler(b, "")
}

// answered fails unless a request got an answer that is its own fault at most.
func answered(t *testing.T, w *httptest.ResponseRecorder, r *http.Request) {
	t.Helper()
	if w.Code >= 500 && w.Code != http.StatusNotImplemented {
		t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if w.Code >= 400 && !json.Valid(w.Body.Bytes()) {
		t.Errorf("%s %s: %d without a JSON error: %s", r.Method, r.URL, w.Code, w.Body)
	}
}

func FuzzCreate(f *testing.F) {
	for _, body := range []string{
		`{}`, `null`, `[]`, `""`, `{"Image":"busybox"}`, `{"Image":1}`, `{"HostConfig":null,"NetworkingConfig":null}`,
		`{"Image":"b","NetworkingConfig":{"EndpointsConfig":{"default":null}}}`, `{"Image":"b","NetworkingConfig":{"EndpointsConfig":null},"MacAddress":"02:42:ac:11:00:02"}`,
		`{"Image":"b","MacAddress":"x","HostConfig":{"NetworkMode":"container:"}}`, `{"Cmd":"sh","Entrypoint":["a",null]}`, `{"ExposedPorts":{"99999/tcp":{}}}`, `{"ExposedPorts":{"":null}}`,
		`{"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"nowhere","HostPort":"-1"}]}}}`, `{"HostConfig":{"Mounts":[null,{"Type":"bind","ReadOnly":true,"BindOptions":null}]}}`,
		`{"HostConfig":{"CgroupnsMode":1,"Memory":1e400}}`, `{"Healthcheck":{"Interval":-1}}`, `{"Healthcheck":[]}`, `{"Image":"b"}{"Image":"c"}`, `{"Image":"b"`, "\xff", strings.Repeat("[", 10001),
		`{"Labels":{"a":{}}}`, `{"HostConfig":{"Ulimits":[null]}}`, `{"HostConfig":{"Dns":["1.1.1.1.1"]}}`, `{"Hostname":null,"StopTimeout":"1"}`,
	} {
		f.Add("1.40", body)
		f.Add("1.56", body)
	}
	h := takingHandler()
	f.Fuzz(func(t *testing.T, version, body string) {
		r := httptest.NewRequest("POST", "/containers/create", strings.NewReader(body))
		r.URL.Path = "/v" + version + "/containers/create"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		answered(t, w, r)
	})
}

func FuzzFilters(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `{"label":["a=b"]}`, `{"label":{"a":true}}`, `{"label":{"a":false}}`, `{"label":null}`, `{"label":"a"}`, `{"label":[1]}`, `{"":[""]}`,
		`{"status":["nonsense"]}`, `{"label":{"a":{}}}`, `{"until":["-1"]}`, `{"event":["exec_start","health_status: x"]}`, "\x00", `{"a":[]}{`,
	} {
		f.Add(s, "", "")
	}
	for _, when := range []string{"1.5", "-1", "9223372036854775807.999999999", "99999999999999999999", "1.-1", "2024-01-01", "2024-01-01T00:00:00Z", "10m", ".", "1.", ".5", "0x1", "1e3"} {
		f.Add("", when, "")
		f.Add("", "", when)
	}
	h := takingHandler()
	f.Fuzz(func(t *testing.T, filters, since, until string) {
		q := url.Values{"filters": {filters}, "since": {since}, "until": {until}, "limit": {since}}
		for _, path := range []string{"/events", "/v1.40/events", "/containers/json"} {
			r := httptest.NewRequest("GET", path+"?"+q.Encode(), nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answered(t, w, r)
		}
	})
}

func FuzzPaths(f *testing.F) {
	for _, p := range []string{"/", "//", "/v1.40", "/v1.40/", "/v1.40//info", "/v1.40/v1.41/info", "/v/info", "/v1/info", "/v1./info", "/v.1/info", "/v-1.40/info", "/v1.+40/info", "/v001.040/info", "/v1.40.1/info", "/v9999.1/x",
		"/v1.40/images/a%2fb/json", "/images//json", "/images/json/json", "/containers/../info", "/containers/%00/json", "/containers/x/attach/ws", "/volumes/x", "/v1.40/plugins/a/b/json", "*"} {
		f.Add("GET", p)
		f.Add("POST", p)
	}
	f.Add("DELETE", "/images/")
	f.Add("HEAD", "/_ping")
	h := newHandler(refusing(), "")
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.Parse(path)
		if err != nil || u.Path == "" || strings.ContainsAny(method, " \t\r\n") || method == "" || method == "CONNECT" {
			return // net/http refuses it
		}
		r := &http.Request{Method: method, URL: u, Host: "x", Header: http.Header{}, Body: http.NoBody, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusInternalServerError || w.Header().Get("Api-Version") == "" {
			t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
		}
	})
}

// What a client puts into the headers of a hijacked request comes back in no
// other header than the one it belongs to.
func FuzzHijackHeaders(f *testing.F) {
	for _, s := range []string{"tcp", "h2c", "", "websocket", "tcp\r\nX-Evil: 1", "\x00", strings.Repeat("a", 5000), "täcp"} {
		f.Add(s, "Upgrade")
		f.Add("tcp", s)
	}
	p := newProcess()
	close(p.out)
	b := refusing()
	bx := box{process: p, config: container.Config{Tty: true}}
	b.attacher, b.execs, b.events = bx, bx, bx
	h := newHandler(b, "")
	f.Fuzz(func(t *testing.T, upgrade, connection string) {
		r := httptest.NewRequest("POST", "/containers/x/attach?stream=1&stdout=1", nil)
		r.Header.Set("Upgrade", upgrade)
		r.Header.Set("Connection", connection)
		w := newPipeWriter()
		h.ServeHTTP(w, r)
		head, _, _ := strings.Cut(w.sent(), "\r\n\r\n")
		for line := range strings.SplitSeq(head, "\r\n") {
			if name, _, _ := strings.Cut(line, ":"); strings.EqualFold(name, "X-Evil") || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("a header of the client's making: %q", line)
			}
		}
	})
}
