package engine

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// shelf is three containers that filters tell apart.
func shelf() (*Engine, map[string]*ctr) {
	port := func(s string) network.Port { return network.MustParsePort(s) }
	at := func(min int) time.Time { return time.Unix(int64(min)*60, 0) }
	web := newCtr(record{
		ID: strings.Repeat("a", 64), Name: "web-1", Created: at(1), ImageID: "sha256:1",
		Config:     container.Config{Labels: map[string]string{"tier": "front", "x": ""}, ExposedPorts: network.PortSet{port("80/tcp"): {}, port("53/udp"): {}}},
		HostConfig: container.HostConfig{PortBindings: network.PortMap{port("80/tcp"): {{HostPort: "8080"}}}, Annotations: map[string]string{"note": "1"}},
		Networks:   []attachment{{Network: "front"}},
		Mounts:     []volumes.Point{{Type: mount.TypeVolume, Name: "data", Source: "/v/data", Target: "/data"}},
	}, state{Status: container.StateRunning, Health: &container.Health{Status: container.Healthy}, Endpoints: map[string]*network.EndpointSettings{"front": {NetworkID: "feed1234"}}}, "")
	job := newCtr(record{
		ID: strings.Repeat("ab", 32), Name: "job", Created: at(2), HostConfig: container.HostConfig{NetworkMode: "host"},
		Mounts: []volumes.Point{{Type: mount.TypeBind, Source: "/srv", Target: "/mnt"}},
	}, state{Status: container.StateExited, ExitCode: 3}, "")
	idle := newCtr(record{ID: strings.Repeat("c", 64), Name: "idle.web", Created: at(3), Networks: []attachment{{Network: "bridge"}}}, state{Status: container.StateCreated}, "")
	e := &Engine{containers: map[string]*ctr{}, names: map[string]string{}}
	all := map[string]*ctr{"web": web, "job": job, "idle": idle}
	for _, c := range all {
		e.containers[c.id], e.names[c.rec.Name] = c, c.id
	}
	return e, all
}

func TestContainerFilters(t *testing.T) {
	e, all := shelf()
	for _, tt := range []struct {
		filter Filters
		want   string // names, sorted
	}{
		{Filters{}, "idle job web"},
		{Filters{"id": {"a"}}, "job web"},
		{Filters{"id": {"aa", "c"}}, "idle web"},
		{Filters{"name": {"web"}}, "idle web"},
		{Filters{"name": {"^/web"}}, "web"},
		{Filters{"name": {"^web"}}, "web"},
		{Filters{"name": {"^[ji]"}}, "idle job"},
		{Filters{"name": {"("}}, ""},
		{Filters{"label": {"tier"}}, "web"},
		{Filters{"label": {"tier=front", "x"}}, "web"},
		{Filters{"label": {"tier=back"}}, ""},
		{Filters{"label!": {"tier=front"}}, "idle job"},
		{Filters{"annotation": {"note=1"}}, "web"},
		{Filters{"status": {"exited", "created"}}, "idle job"},
		{Filters{"exited": {"3"}}, "job"},
		{Filters{"exited": {"0"}}, ""},
		{Filters{"health": {"healthy"}}, "web"},
		{Filters{"health": {"none"}}, "idle job"},
		{Filters{"isolation": {"default"}}, "idle job web"},
		{Filters{"isolation": {"hyperv"}}, ""},
		{Filters{"is-task": {"false"}}, "idle job web"},
		{Filters{"is-task": {"true"}}, ""},
		{Filters{"network": {"front"}}, "web"},
		{Filters{"network": {"feed"}}, "web"},
		{Filters{"network": {"host"}}, "job"},
		{Filters{"volume": {"data"}}, "web"},
		{Filters{"volume": {"/data"}}, "web"},
		{Filters{"volume": {"/v/data"}}, ""},
		{Filters{"volume": {"/srv", "/x"}}, "job"},
		{Filters{"publish": {"80"}}, "web"},
		{Filters{"publish": {"8080"}}, ""},
		{Filters{"publish": {"79-81/tcp"}}, "web"},
		{Filters{"publish": {"80/udp"}}, ""},
		{Filters{"expose": {"53/udp"}}, "web"},
		{Filters{"expose": {"53"}}, ""},
		{Filters{"before": {"job"}}, "web"},
		{Filters{"since": {"job"}}, "idle"},
		{Filters{"name": {"web"}, "status": {"running"}}, "web"},
	} {
		fits, err := e.containerFilter(t.Context(), tt.filter)
		if err != nil {
			t.Errorf("%v: %v", tt.filter, err)
			continue
		}
		var got []string
		for name, c := range all {
			if fits(&c.rec, &c.st) {
				got = append(got, name)
			}
		}
		if slices.Sort(got); strings.Join(got, " ") != tt.want {
			t.Errorf("%v selects %v, want %s", tt.filter, got, tt.want)
		}
	}
}

func TestContainerFiltersRefuse(t *testing.T) {
	e, _ := shelf()
	for _, tt := range []struct {
		filter Filters
		says   string
	}{
		{Filters{"nonsense": {"x"}}, "invalid filter 'nonsense'"},
		{Filters{"status": {"asleep"}}, "invalid value for state (asleep)"},
		{Filters{"health": {"fine"}}, "invalid value for health (fine)"},
		{Filters{"exited": {"x"}}, "invalid filter 'exited=x'"},
		{Filters{"is-task": {"maybe"}}, "invalid filter 'is-task="},
		{Filters{"publish": {"http"}}, "invalid filter 'publish=http'"},
		{Filters{"expose": {"90-80"}}, "invalid filter 'expose=90-80'"},
		{Filters{"expose": {"70000"}}, "invalid filter 'expose=70000'"},
	} {
		if _, err := e.containerFilter(t.Context(), tt.filter); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: %v, want %q", tt.filter, err, tt.says)
		}
	}
	if _, err := e.containerFilter(t.Context(), Filters{"before": {"nobody"}}); !errdefs.IsNotFound(err) {
		t.Errorf("before an unknown container: %v", err)
	}
	if _, err := e.find("a"); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "multiple IDs found with provided prefix: a") {
		t.Errorf("an ambiguous prefix: %v", err)
	}
}

// FuzzContainerFilters gives filters what a client may send: they decide or
// refuse, and never take the daemon down.
func FuzzContainerFilters(f *testing.F) {
	f.Add(`{"name":["["],"publish":["1-"],"exited":["-1"]}`)
	f.Add(`{"since":[""],"network":[""],"until":["1.5"],"label!":["="]}`)
	f.Add(`{"is-task":[],"expose":["/"],"id":["\u0000"]}`)
	e, all := shelf()
	f.Fuzz(func(t *testing.T, s string) {
		filters := Filters{}
		if json.Unmarshal([]byte(s), &filters) != nil {
			return
		}
		for key, values := range filters { // as the API hands them on
			if len(values) == 0 {
				delete(filters, key)
			}
		}
		delete(filters, "ancestor") // asks the image store
		filters.until(time.Unix(0, 0))
		fits, err := e.containerFilter(t.Context(), filters)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) {
				t.Errorf("%s: refused as %v", s, err)
			}
			return
		}
		for _, c := range all {
			fits(&c.rec, &c.st)
		}
	})
}
