package spec

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

func image(change func(*dockerspec.DockerOCIImageConfig)) dockerspec.DockerOCIImageConfig {
	var i dockerspec.DockerOCIImageConfig
	change(&i)
	return i
}

func TestMergeCommand(t *testing.T) {
	both := image(func(i *dockerspec.DockerOCIImageConfig) { i.Entrypoint, i.Cmd = []string{"entry"}, []string{"cmd"} })
	for name, c := range map[string]struct {
		config              container.Config
		entrypoint, command []string
	}{
		"image's":          {container.Config{}, []string{"entry"}, []string{"cmd"}},
		"own command":      {container.Config{Cmd: []string{"x"}}, []string{"entry"}, []string{"x"}},
		"own entrypoint":   {container.Config{Entrypoint: []string{"e"}}, []string{"e"}, nil},
		"both own":         {container.Config{Entrypoint: []string{"e"}, Cmd: []string{"x"}}, []string{"e"}, []string{"x"}},
		"empty entrypoint": {container.Config{Entrypoint: []string{}}, []string{}, []string{"cmd"}},
		"no entrypoint":    {container.Config{Entrypoint: []string{""}, Cmd: []string{"x"}}, nil, []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, Merge(&c.config, both))
			if diff := cmp.Diff([][]string{c.entrypoint, c.command}, [][]string{c.config.Entrypoint, c.config.Cmd}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	img := image(func(i *dockerspec.DockerOCIImageConfig) {
		i.User, i.WorkingDir, i.StopSignal = "app", "/srv", "SIGQUIT"
		i.Env = []string{"A=image", "B=image", "C=image"}
		i.ExposedPorts = map[string]struct{}{"80": {}, "53/udp": {}}
		i.Volumes = map[string]struct{}{"/data": {}}
		i.Labels = map[string]string{"a": "image", "b": "image"}
		i.Shell = []string{"/bin/bash", "-c"}
		i.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "true"}, Interval: time.Second, Timeout: 2 * time.Second, StartPeriod: 3 * time.Second, StartInterval: 4 * time.Second, Retries: 5}
	})
	t.Run("nothing of the user's", func(t *testing.T) {
		var c container.Config
		must(t, Merge(&c, img))
		want := container.Config{
			User: "app", WorkingDir: "/srv", StopSignal: "SIGQUIT", Env: img.Env, Labels: img.Labels, Volumes: img.Volumes, Shell: img.Shell,
			ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}, network.MustParsePort("53/udp"): {}},
			Healthcheck:  img.Healthcheck,
		}
		if diff := cmp.Diff(want, c, cmp.Comparer(func(a, b network.Port) bool { return a == b })); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		c.Env[0], c.Labels["a"], c.Healthcheck.Test[0] = "changed", "changed", "changed"
		if img.Env[0] != "A=image" || img.Labels["a"] != "image" || img.Healthcheck.Test[0] != "CMD" {
			t.Error("the image was changed through the container's configuration")
		}
	})
	t.Run("much of the user's", func(t *testing.T) {
		c := container.Config{
			User: "me", WorkingDir: "/w", StopSignal: "SIGINT", Env: []string{"B=mine", "C", "D=mine"},
			ExposedPorts: network.PortSet{network.MustParsePort("81/tcp"): {}}, Volumes: map[string]struct{}{"/more": {}},
			Labels:      map[string]string{"b": "mine"},
			Healthcheck: &container.HealthConfig{Interval: time.Minute, Retries: 1},
		}
		must(t, Merge(&c, img))
		want := container.Config{
			User: "me", WorkingDir: "/w", StopSignal: "SIGINT", Env: []string{"B=mine", "C", "D=mine", "A=image"}, Shell: img.Shell,
			ExposedPorts: network.PortSet{network.MustParsePort("80/tcp"): {}, network.MustParsePort("81/tcp"): {}, network.MustParsePort("53/udp"): {}},
			Volumes:      map[string]struct{}{"/data": {}, "/more": {}},
			Labels:       map[string]string{"a": "image", "b": "mine"},
			Healthcheck:  &container.HealthConfig{Test: []string{"CMD", "true"}, Interval: time.Minute, Timeout: 2 * time.Second, StartPeriod: 3 * time.Second, StartInterval: 4 * time.Second, Retries: 1},
		}
		if diff := cmp.Diff(want, c, cmp.Comparer(func(a, b network.Port) bool { return a == b })); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("bad port", func(t *testing.T) {
		bad := image(func(i *dockerspec.DockerOCIImageConfig) { i.ExposedPorts = map[string]struct{}{"http": {}} })
		if err := Merge(&container.Config{}, bad); err == nil {
			t.Error("port \"http\" is accepted")
		}
	})
}
