package engine

import (
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	healthy := func(s container.HealthStatus) *container.Health { return &container.Health{Status: s} }
	for _, tt := range []struct {
		st   state
		want string
	}{
		{state{Status: container.StateCreated}, "Created"},
		{state{Status: container.StateRunning, StartedAt: ago(2 * time.Second)}, "Up 2 seconds"},
		{state{Status: container.StateRunning, StartedAt: ago(300 * time.Millisecond)}, "Up Less than a second"},
		{state{Status: container.StateRunning, StartedAt: ago(time.Hour), Health: healthy(container.Healthy)}, "Up About an hour (healthy)"},
		{state{Status: container.StateRunning, StartedAt: ago(3 * time.Minute), Health: healthy(container.Unhealthy)}, "Up 3 minutes (unhealthy)"},
		{state{Status: container.StateRunning, StartedAt: ago(3 * time.Second), Health: healthy(container.Starting)}, "Up 3 seconds (health: starting)"},
		{state{Status: container.StatePaused, StartedAt: ago(3 * time.Second), Health: healthy(container.Healthy)}, "Up 3 seconds (Paused)"},
		{state{Status: container.StateRestarting, ExitCode: 1, FinishedAt: ago(2 * time.Second)}, "Restarting (1) 2 seconds ago"},
		{state{Status: container.StateExited, FinishedAt: ago(5 * time.Minute)}, "Exited (0) 5 minutes ago"},
		{state{Status: container.StateRemoving}, "Removal In Progress"},
		{state{Status: container.StateDead}, "Dead"},
	} {
		if got := statusText(&tt.st, now); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestCommandText(t *testing.T) {
	if got := commandText("sh", []string{"-c", "echo hi", "x"}); got != "sh -c 'echo hi' x" {
		t.Error(got)
	}
	if got := commandText("top", nil); got != "top" {
		t.Error(got)
	}
}

func TestNamesThatAreMadeUp(t *testing.T) {
	e := &Engine{names: map[string]string{}}
	for range 3 * len(adjectives) * len(nouns) { // more than there are pairs
		name := e.freeName()
		if !validName.MatchString(name) || e.names[name] != "" {
			t.Fatalf("%q is no free name", name)
		}
		e.names[name] = "x"
	}
	if err := e.reserveName("-x", "id"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a name that begins with a dash: %v", err)
	}
}

func TestLogAttributes(t *testing.T) {
	rec := record{ID: "0123456789abcdef", Name: "web", ImageID: "sha256:fedcba9876543210", Config: container.Config{
		Image: "shop/web", Env: []string{"MODE=fast", "MOOD", "SECRET=x"}, Labels: map[string]string{"tier": "front", "com.a": "1", "com.b": "2"},
	}}
	for _, tt := range []struct {
		opts map[string]string
		want map[string]string
	}{
		{nil, nil},
		{map[string]string{"labels": "tier,none", "env": "MODE"}, map[string]string{"tier": "front", "MODE": "fast"}},
		{map[string]string{"labels-regex": "^com", "env-regex": "^MO"}, map[string]string{"com.a": "1", "com.b": "2", "MODE": "fast", "MOOD": ""}},
		{map[string]string{"tag": "{{.ImageName}}/{{.Name}}/{{.ID}}/{{.ImageID}}"}, map[string]string{"tag": "shop/web/web/0123456789ab/fedcba987654"}},
	} {
		got, err := logAttrs(&rec, tt.opts)
		if err != nil || len(got) != len(tt.want) {
			t.Errorf("%v: %v, %v", tt.opts, got, err)
		}
		for k, v := range tt.want {
			if got[k] != v {
				t.Errorf("%v: %s is %q", tt.opts, k, got[k])
			}
		}
	}
	for _, opt := range [][2]string{
		{"labels-regex", "("}, {"tag", "{{.Nothing}}"}, {"env-regex", "["},
		// those that would never end, or fill the memory
		{"tag", "{{range 9223372036854775807}}{{end}}"}, {"tag", "{{if true}}{{- range $i := 9223372036854775807}}x{{end}}{{end}}"},
		{"tag", `{{define "a"}}{{template "a"}}{{template "a"}}{{end}}{{template "a"}}`}, {"tag", `{{printf "%900000d" 1}}`},
	} {
		if err := checkLogConfig("json-file", map[string]string{opt[0]: opt[1]}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s=%s: %v", opt[0], opt[1], err)
		}
	}
}
