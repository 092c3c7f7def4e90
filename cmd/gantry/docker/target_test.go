package docker

import (
	"testing"
)

func TestWhichDaemonIsMeant(t *testing.T) {
	const ours = "unix:///run/gantry/gantry.sock"
	for _, tc := range []struct {
		name          string
		host, context string
		env           map[string]string
		want          Target
	}{
		{name: "nobody says", want: Target{Host: ours, Ours: true}},
		{name: "GANTRY_HOST", env: map[string]string{"GANTRY_HOST": "unix:///g", "DOCKER_HOST": "unix:///d", "DOCKER_CONTEXT": "c"}, want: Target{Host: "unix:///g", Ours: true}},
		{name: "DOCKER_HOST", env: map[string]string{"DOCKER_HOST": "unix:///d", "DOCKER_CONTEXT": "c"}, want: Target{Host: "unix:///d"}},
		{name: "DOCKER_HOST is ours", env: map[string]string{"DOCKER_HOST": ours}, want: Target{Host: ours, Ours: true}},
		{name: "DOCKER_CONTEXT", env: map[string]string{"DOCKER_CONTEXT": "c"}, want: Target{Context: "c"}},
		{name: "DOCKER_CONTEXT=default", env: map[string]string{"DOCKER_CONTEXT": "default"}, want: Target{Host: ours, Ours: true}},
		{name: "--host", host: "tcp://h:1", env: map[string]string{"GANTRY_HOST": "unix:///g", "DOCKER_HOST": "unix:///d"}, want: Target{Host: "tcp://h:1"}},
		{name: "--context", context: "c", env: map[string]string{"GANTRY_HOST": "unix:///g", "DOCKER_HOST": "unix:///d"}, want: Target{Context: "c"}},
		{name: "--context default", context: "default", env: map[string]string{"DOCKER_CONTEXT": "c"}, want: Target{Host: ours, Ours: true}},
		{name: "--context default with a host", context: "default", env: map[string]string{"DOCKER_HOST": "unix:///d"}, want: Target{Host: "unix:///d"}},
	} {
		got := chooseTarget(tc.host, tc.context, ours, func(k string) string { return tc.env[k] })
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}
