package api

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"pgregory.net/rapid"
)

// shaped is what a client of a version gets for an answer. It also checks that
// the newest version gets the answer untouched.
func shaped(t *testing.T, endpoint, version, answer string) string {
	t.Helper()
	out := ""
	for _, v := range []string{newest.String(), version} {
		method, path, _ := strings.Cut(endpoint, " ")
		r := httptest.NewRequest(method, "/v"+v+strings.NewReplacer("{id}", "x", "{name}", "a/b").Replace(path), nil)
		r, err := unversioned(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Pattern = endpoint
		if before, _, ok := strings.Cut(endpoint, "/{name}"); ok {
			r.Pattern = before + "/{name...}"
		}
		got, err := answerFor(r, json.RawMessage(answer))
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if v == newest.String() {
			sameJSON(t, endpoint+" of the newest version", string(b), answer)
		}
		out = string(b)
	}
	return out
}

func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		t.Fatalf("%s: %v in %s", what, err, got)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("%s: %v in %s", what, err, want)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s\n got %s\nwant %s", what, got, want)
	}
}

func TestAnswersOfOldVersions(t *testing.T) {
	const end = `"EndpointID":"e","Gateway":"10.0.0.1","IPAddress":"10.0.0.2","IPPrefixLen":24,"MacAddress":"02:00","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"IPv6Gateway":""`
	const flat = `"Bridge":"","HairpinMode":false,"LinkLocalIPv6Address":"","LinkLocalIPv6PrefixLen":0,"SecondaryIPAddresses":null,"SecondaryIPv6Addresses":null`
	const none = `"EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"MacAddress":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"IPv6Gateway":""`
	const driver = `"GraphDriver":{"Name":"overlayfs","Data":null}`
	const config = `"Cmd":null,"Entrypoint":null,"Env":null,"Labels":null,"OnBuild":null,"Volumes":null,"User":"","WorkingDir":""`
	const fields = `"Hostname":"","Domainname":"","Image":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false`
	const id = "0123456789abcdef"
	for _, c := range []struct{ endpoint, version, answer, want string }{
		{"GET /containers/json", "1.51", `[{"Ports":[{"IP":"","PrivatePort":80},{"IP":"1.1.1.1"}]}]`, `[{"Ports":[{"PrivatePort":80},{"IP":"1.1.1.1"}]}]`},
		{"GET /containers/json", "1.45", `[{"ImageManifestDescriptor":{},"HostConfig":{"NetworkMode":"x","Annotations":{}}}]`, `[{"HostConfig":{"NetworkMode":"x"}}]`},
		{"GET /containers/json", "1.40", `[]`, `[]`},
		{"GET /containers/{id}/json", "1.51", `{"NetworkSettings":{"Networks":{"bridge":{` + end + `}}},"Config":{},"Storage":{"RootFS":{"Snapshot":{"Name":"overlayfs"}}}}`,
			`{"NetworkSettings":{"Networks":{"bridge":{` + end + `}},` + flat + `,` + end + `},"Config":{"OnBuild":null},` + driver + `}`},
		{"GET /containers/{id}/json", "1.51", `{"NetworkSettings":{"Networks":{"mine":{` + end + `}}}}`,
			`{"NetworkSettings":{"Networks":{"mine":{` + end + `}},` + flat + `,` + none + `},` + driver + `}`},
		{"GET /containers/{id}/json", "1.44", `{"Id":"` + id + `","GraphDriver":null,"NetworkSettings":{"Networks":{"bridge":{` + end + `},"b":{"Aliases":["web"]},"c":{"Aliases":null}}}}`,
			`{"Id":"` + id + `","GraphDriver":null,"NetworkSettings":{"Networks":{"bridge":{` + end + `},"b":{"Aliases":["web","0123456789ab"]},"c":{"Aliases":["0123456789ab"]}},` + flat + `,` + end + `}}`},
		{"GET /containers/{id}/json", "1.41", `{"HostConfig":{},"GraphDriver":null}`, `{"HostConfig":{"KernelMemory":0,"KernelMemoryTCP":0},"GraphDriver":null}`},
		{"GET /images/json", "1.44", `[{"Size":12345678901234567,"RepoTags":[],"Descriptor":{},"Manifests":[]}]`, `[{"Size":12345678901234567,"RepoTags":[]}]`},
		{"GET /images/json", "1.43", `[{"Size":12345678901234567,"RepoTags":[],"RepoDigests":null}]`, `[{"Size":12345678901234567,"VirtualSize":12345678901234567,"RepoTags":[],"RepoDigests":null}]`},
		{"GET /images/json", "1.42", `[{"Size":1,"RepoTags":[],"RepoDigests":["a@b"]}]`, `[{"Size":1,"VirtualSize":1,"RepoTags":["<none>:<none>"],"RepoDigests":["a@b"]}]`},
		{"GET /images/{name}/json", "1.52", `{"Identity":{},"Config":{}}`, `{"Config":{}}`},
		{"GET /images/{name}/json", "1.51", `{"Config":{"Cmd":["sh"]}}`, `{"Config":{` + strings.Replace(config, `"Cmd":null`, `"Cmd":["sh"]`, 1) + `},"Parent":"","Comment":"","DockerVersion":"","Author":"",` + driver + `}`},
		{"GET /images/{name}/json", "1.40", `{"Size":5,"Config":{},"Descriptor":{}}`, `{"Size":5,"VirtualSize":5,"Container":"","ContainerConfig":{` + config + `,` + fields + `},"Config":{` + config + `,` + fields + `},"Parent":"","Comment":"","DockerVersion":"","Author":"",` + driver + `}`},
		{"GET /info", "1.52", `{"NRI":{},"FirewallBackend":{}}`, `{"FirewallBackend":{}}`},
		{"GET /info", "1.41", `{"NRI":{},"FirewallBackend":{},"DiscoveredDevices":[],"Containerd":{},"CDISpecDirs":[],"RuncCommit":{"ID":"r"},"RegistryConfig":{},"Runtimes":{"runc":{"path":"runc","status":{}}}}`,
			`{"RuncCommit":{"ID":"r","Expected":"r"},"RegistryConfig":{"AllowNondistributableArtifactsCIDRs":null,"AllowNondistributableArtifactsHostnames":null},"Runtimes":{"runc":{"path":"runc"}},"BridgeNfIptables":false,"BridgeNfIp6tables":false,"KernelMemory":false,"KernelMemoryTCP":false}`},
		{"GET /networks/{id}", "1.51", `{"Status":{},"Name":"n"}`, `{"Name":"n"}`},
		{"GET /system/df", "1.52", `{"ImageUsage":{"TotalSize":7}}`, `{"ImageUsage":{"TotalSize":7},"LayersSize":7,"Images":[],"Containers":[],"Volumes":[],"BuildCache":[]}`},
		{"GET /system/df", "1.43", `{"ImageUsage":{"TotalSize":7,"Items":[{"Size":3}]},"ContainerUsage":{"Items":[{"Id":"c"}]},"VolumeUsage":{"Items":[{"Name":"v"}]}}`,
			`{"LayersSize":7,"Images":[{"Size":3,"VirtualSize":3}],"Containers":[{"Id":"c"}],"Volumes":[{"Name":"v"}],"BuildCache":[]}`},
		{"GET /events", "1.51", `{"Type":"container","Action":"die","Actor":{"ID":"i","Attributes":{"image":"b"}}}`, `{"Type":"container","Action":"die","Actor":{"ID":"i","Attributes":{"image":"b"}},"status":"die","id":"i","from":"b"}`},
		{"GET /events", "1.51", `{"Type":"image","Action":"tag","Actor":{"ID":"i"}}`, `{"Type":"image","Action":"tag","Actor":{"ID":"i"},"status":"tag","id":"i"}`},
		{"GET /events", "1.51", `{"Type":"network","Action":"create","Actor":{"ID":"i"}}`, `{"Type":"network","Action":"create","Actor":{"ID":"i"}}`},
	} {
		sameJSON(t, c.endpoint+" of "+c.version, shaped(t, c.endpoint, c.version, c.answer), c.want)
	}
}

func asked(t *testing.T, endpoint, version, query string) string {
	t.Helper()
	_, path, _ := strings.Cut(endpoint, " ")
	r, err := unversioned(httptest.NewRequest("GET", "/v"+version+path+"?"+query, nil))
	if err != nil {
		t.Fatal(err)
	}
	r.Pattern = endpoint
	return queryFrom(r).URL.RawQuery
}

func TestQueriesOfOldVersions(t *testing.T) {
	for _, c := range []struct{ endpoint, version, query, want string }{
		{"GET /system/df", "1.53", "", ""},
		{"GET /system/df", "1.52", "type=image", "type=image&verbose=1"},
		{"GET /containers/{id}/attach/ws", "1.41", "stream=1", "stderr=1&stdin=1&stdout=1&stream=1"},
		{"GET /containers/{id}/attach/ws", "1.42", "stream=1", "stream=1"},
		{"POST /containers/{id}/stop", "1.41", "signal=INT&t=1", "t=1"},
		{"POST /volumes/prune", "1.41", "", "filters=%7B%22all%22%3A%5B%22true%22%5D%7D"},
		{"POST /volumes/prune", "1.42", "", ""},
		{"POST /volumes/prune", "1.41", `filters={"all":["0"]}`, "filters=%7B%22all%22%3A%5B%220%22%5D%7D"},
		{"GET /images/json", "1.40", "filter=busybox", "filter=busybox&filters=%7B%22reference%22%3A%5B%22busybox%22%5D%7D"},
	} {
		if got := asked(t, c.endpoint, c.version, c.query); got != c.want {
			t.Errorf("%s of %s with %q: %q, want %q", c.endpoint, c.version, c.query, got, c.want)
		}
	}
}

func TestBodiesOfOldVersions(t *testing.T) {
	const create, exec = "POST /containers/create", "POST /containers/{id}/exec"
	for _, c := range []struct{ endpoint, version, body, want string }{
		{create, "1.52", `{"MacAddress":"02:00:00:00:00:01","Cmd":"sh"}`, `{"MacAddress":"02:00:00:00:00:01","Cmd":"sh"}`},
		{create, "1.51", `{"MacAddress":"02:00:00:00:00:01","Cmd":"sh"}`, `{"Cmd":["sh"],"NetworkingConfig":{"EndpointsConfig":{"default":{"MacAddress":"02:00:00:00:00:01"}}}}`},
		{create, "1.43", `{"MacAddress":"02:0A","HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":["a"],"MacAddress":"02:0a"}}}}`,
			`{"HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":["a"],"MacAddress":"02:0A"}}}}`},
		{create, "1.43", `{"MacAddress":"","NetworkingConfig":null}`, `{"NetworkingConfig":null}`},
		{create, "1.43", `{"Healthcheck":{"Test":["CMD"],"StartInterval":1},"HostConfig":{"Mounts":[{"Type":"bind","ReadOnly":true},{"Type":"bind"},{"Type":"volume","ReadOnly":true}]}}`,
			`{"Healthcheck":{"Test":["CMD"]},"HostConfig":{"Mounts":[{"Type":"bind","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true}},{"Type":"bind"},{"Type":"volume","ReadOnly":true}]}}`},
		{create, "1.42", `{"HostConfig":{"Annotations":{"a":"b"},"ConsoleSize":[1,2]}}`, `{"HostConfig":{"ConsoleSize":[1,2]}}`},
		{create, "1.41", `{"HostConfig":{"ConsoleSize":[1,2],"Mounts":[{"Type":"bind","BindOptions":{"CreateMountpoint":true}}]}}`, `{"HostConfig":{"Mounts":[{"Type":"bind","BindOptions":{}}]}}`},
		{create, "1.40", `{"HostConfig":{"CgroupnsMode":""}}`, `{"HostConfig":{"CgroupnsMode":"host"}}`},
		{create, "1.40", `null`, `null`},
		{create, "1.40", `[1`, `[1`},
		{exec, "1.41", `{"ConsoleSize":[1,2],"Cmd":["a"]}`, `{"Cmd":["a"]}`},
	} {
		r, err := unversioned(httptest.NewRequest("POST", "/v"+c.version+"/x", nil))
		if err != nil {
			t.Fatal(err)
		}
		r.Pattern = c.endpoint
		got, err := bodyFrom(r, []byte(c.body))
		if err != nil {
			t.Errorf("%s of %s: %v", c.endpoint, c.version, err)
		} else if string(got) != c.want {
			sameJSON(t, c.endpoint+" of "+c.version, string(got), c.want)
		}
	}
	for _, body := range []string{
		`{"MacAddress":"02:00","HostConfig":{"NetworkMode":"host"}}`,
		`{"MacAddress":"02:00","NetworkingConfig":{"EndpointsConfig":{"default":{"MacAddress":"02:01"}}}}`,
	} {
		r, _ := unversioned(httptest.NewRequest("POST", "/v1.43/x", nil))
		r.Pattern = create
		if got, err := bodyFrom(r, []byte(body)); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %s, %v", body, got, err)
		}
	}
}

func TestEventsOfOldVersions(t *testing.T) {
	prune := events.Message{Type: events.VolumeEventType, Action: events.ActionPrune}
	made := events.Message{Type: events.ImageEventType, Action: events.ActionCreate}
	for _, c := range []struct {
		minor int
		m     events.Message
		want  bool
	}{{40, prune, false}, {41, prune, true}, {45, made, false}, {46, made, true}, {40, events.Message{Type: events.ContainerEventType, Action: events.ActionCreate}, true}} {
		if got := knowsEvent(apiVersion{1, c.minor}, c.m); got != c.want {
			t.Errorf("1.%d knows %s %s: %v", c.minor, c.m.Type, c.m.Action, got)
		}
	}
}

// Whatever JSON stands where an object is expected, shaping it fails nowhere.
func TestShapingTakesAnything(t *testing.T) {
	keys := []string{"NetworkSettings", "Networks", "bridge", "Config", "HostConfig", "Mounts", "Ports", "Storage", "Runtimes", "Aliases", "Id", "ImageUsage", "Items", "MacAddress", "NetworkingConfig", "EndpointsConfig", "default", "Cmd", "Actor", "Type", "Healthcheck", "BindOptions", "RegistryConfig", "RuncCommit"}
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaf := []*rapid.Generator[any]{
			rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any](1), rapid.Just[any]("container"), rapid.Just[any]("0123456789abcdef"),
		}
		if depth > 0 {
			leaf = append(leaf,
				rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 3), func(v []any) any { return v }),
				rapid.Map(rapid.MapOfN(rapid.SampledFrom(keys), rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 5), func(v map[string]any) any { return v }))
		}
		return rapid.OneOf(leaf...)
	}
	rapid.Check(t, func(rt *rapid.T) {
		v := value(4).Draw(rt, "value")
		b, err := json.Marshal(v)
		if err != nil {
			rt.Fatal(err)
		}
		r, _ := unversioned(httptest.NewRequest("GET", "/v1.40/x", nil))
		for _, c := range answers {
			r.Pattern = c.endpoint
			if _, err := answerFor(r, v); err != nil {
				rt.Fatalf("%s: %v", c.endpoint, err)
			}
		}
		for _, c := range bodies {
			r.Pattern = c.endpoint
			if _, err := bodyFrom(r, b); err != nil && !errdefs.IsInvalidArgument(err) {
				rt.Fatalf("%s: %v", c.endpoint, err)
			}
		}
	})
}

// The Python SDK takes the newest version of the daemon, known to it or not.
func TestVersionForThePythonSDK(t *testing.T) {
	for agent, want := range map[string]string{
		"docker-compose/1.29.2 docker-py/5.0.3 Linux/6.1": "1.41", "docker-sdk-python/7.1.0": "1.44", "docker-py/4.4.1": "1.40",
		"docker/28.2.2": newest.String(), "": newest.String(),
	} {
		r := httptest.NewRequest("GET", "/version", nil)
		r.Header.Set("User-Agent", agent)
		if got := offered(r).String(); got != want {
			t.Errorf("%q is offered %s, want %s", agent, got, want)
		}
	}
}

func TestStartWithAConfigurationIsRefused(t *testing.T) {
	h := newHandler(refusing(), "")
	for body, want := range map[string]int{`{"Binds":["/:/x"]}`: 400, "{}": 503, "": 503, "null\n": 503} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v1.40/containers/x/start", strings.NewReader(body))
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("start with %q: %d %s", body, w.Code, w.Body)
		}
	}
}
