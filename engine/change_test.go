package engine

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
)

func TestChanges(t *testing.T) {
	var c dockerspec.DockerOCIImageConfig
	for line := range strings.Lines(`# a comment

CMD ["a", "b c"]
entrypoint run it
ENV A=1 B="x y"
ENV A 2 3
LABEL one=1 "two words"=2
EXPOSE 80 90-91/udp
VOLUME /a /b
VOLUME ["/c d"]
USER me:us
WORKDIR /srv
WORKDIR www/../data
STOPSIGNAL SIGUSR1
ONBUILD RUN make
HEALTHCHECK --interval=5s --retries=2 CMD curl -f http://localhost
`) {
		if err := applyChange(&c, line); err != nil {
			t.Fatal(err)
		}
	}
	set := func(keys ...string) map[string]struct{} {
		out := map[string]struct{}{}
		for _, k := range keys {
			out[k] = struct{}{}
		}
		return out
	}
	var want dockerspec.DockerOCIImageConfig
	want.Cmd, want.Entrypoint = []string{"a", "b c"}, []string{"/bin/sh", "-c", "run it"}
	want.Env = []string{"A=2 3", "B=x y"}
	want.Labels = map[string]string{"one": "1", "two words": "2"}
	want.ExposedPorts, want.Volumes = set("80/tcp", "90/udp", "91/udp"), set("/a", "/b", "/c d")
	want.User, want.WorkingDir, want.StopSignal = "me:us", "/srv/data", "SIGUSR1"
	want.OnBuild = []string{"RUN make"}
	want.Healthcheck = &dockerspec.HealthcheckConfig{Test: []string{"CMD-SHELL", "curl -f http://localhost"}, Interval: 5 * time.Second, Retries: 2}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	for _, bad := range []string{"RUN make", "FROM x", "CMD", "ENV A", "ENV =1", "EXPOSE http", "STOPSIGNAL SIGNONE", `LABEL "open`, "HEALTHCHECK", "HEALTHCHECK --pace=1s CMD x", "HEALTHCHECK --interval=1us CMD x", "HEALTHCHECK CMD"} {
		if err := applyChange(&c, bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What a commit says goes over the container's configuration as Docker lays it.
func TestCommittedConfig(t *testing.T) {
	base := func() dockerspec.DockerOCIImageConfig {
		return imageConfig(container.Config{
			Entrypoint: []string{"init"}, Cmd: []string{"serve"}, Env: []string{"A=1", "B=2"}, User: "me", Hostname: "h",
			Labels: map[string]string{"keep": "1", labelProject: "shop"},
		})
	}
	got := base()
	overlayConfig(&got, dockerspec.DockerOCIImageConfig{})
	if got.Cmd[0] != "serve" || got.Entrypoint[0] != "init" || got.Labels["keep"] != "1" || len(got.Labels) != 1 {
		t.Errorf("unchanged: %+v", got)
	}
	var over dockerspec.DockerOCIImageConfig
	over.Env, over.Entrypoint = []string{"B=3", "C=4"}, []string{"other"}
	got = base()
	overlayConfig(&got, over)
	if strings.Join(got.Env, " ") != "A=1 B=3 C=4" || got.Cmd != nil || got.Entrypoint[0] != "other" || got.User != "me" {
		t.Errorf("a new entrypoint: %+v", got)
	}
	over.Cmd = []string{"now"}
	got = base()
	overlayConfig(&got, over)
	if got.Cmd[0] != "now" {
		t.Errorf("with a new command: %+v", got)
	}
}

// The container goes on with what it was made with.
func TestACommitLeavesTheContainersConfig(t *testing.T) {
	own := container.Config{Env: []string{"A=1", "B=2"}, Labels: map[string]string{"l": "1"}}
	cfg := imageConfig(own)
	var over dockerspec.DockerOCIImageConfig
	over.Env, over.Labels = []string{"A=other"}, map[string]string{"l": "2"}
	overlayConfig(&cfg, over)
	if strings.Join(own.Env, " ") != "A=1 B=2" || own.Labels["l"] != "1" {
		t.Errorf("the container has %v and %v", own.Env, own.Labels)
	}
}

// FuzzChange gives commit what a client may send.
func FuzzChange(f *testing.F) {
	for _, s := range []string{"CMD [", "ENV \"", "HEALTHCHECK --interval=", "EXPOSE 1-70000", "WORKDIR ..", "LABEL a=\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var c dockerspec.DockerOCIImageConfig
		if err := applyChange(&c, line); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", line, err)
		}
	})
}
