package engine

import (
	"testing"

	"gantry/build"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestBuildRequestIsTheFrontends(t *testing.T) {
	got, err := buildRequest(scheduler.BuildImage{ID: "id", Ref: "app", Session: "s", Build: project.Build{
		Context: "/src", Dockerfile: "/src/docker/Dockerfile.web", Args: map[string]string{"A": "1"}, Target: "web",
		CacheFrom: []string{"reg/cache", `type=registry,"ref=reg/other"`}, CacheTo: []string{"type=inline"}, NoCacheFilter: []string{"x", "y"},
		Platforms: []string{"linux/amd64"}, Labels: map[string]string{"l": "v"}, Tags: []string{"app:1"},
		Contexts: map[string]string{"docs": "/docs", "base": "docker-image://base"}, Network: "host", ExtraHosts: []string{"a=1.2.3.4"},
		ShmSize: 7, Ulimits: []string{"nofile=1:2"}, Privileged: true, Provenance: "true",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := build.Request{
		ID: "id", Session: "s", Names: []string{"app", "app:1"}, Entitlements: []string{"network.host", "security.insecure"},
		CacheFrom: []build.Cache{{Type: "registry", Attrs: map[string]string{"ref": "reg/cache"}}, {Type: "registry", Attrs: map[string]string{"ref": "reg/other"}}},
		CacheTo:   []build.Cache{{Type: "inline", Attrs: map[string]string{}}},
		Attrs: map[string]string{
			"filename": "Dockerfile.web", "dockerfilekey": project.LocalName("/src/docker", ""), "target": "web", "build-arg:A": "1", "label:l": "v",
			"image-resolve-mode": "local", "platform": "linux/amd64", "force-network-mode": "host", "add-hosts": "a=1.2.3.4", "shm-size": "7",
			"ulimit": "nofile=1:2", "no-cache": "x,y", "attest:provenance": "mode=min",
			"context:docs": "local:" + project.LocalName("/docs", ""), "context:base": "docker-image://base",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBuildFiles(t *testing.T) {
	for name, c := range map[string]struct {
		build project.Build
		want  map[string]string
	}{
		"inline": {project.Build{Context: "/src", DockerfileInline: "FROM x"}, map[string]string{"filename": "Dockerfile", "dockerfilekey": project.LocalName("", "FROM x")}},
		"git":    {project.Build{Context: "https://x/y.git#main", Dockerfile: "sub/Dockerfile"}, map[string]string{"filename": "sub/Dockerfile", "context": "https://x/y.git#main"}},
	} {
		got := map[string]string{}
		if buildFiles(&c.build, got); !cmp.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestBuildRequestRefusesWhatWouldGoWrong(t *testing.T) {
	if _, err := buildRequest(scheduler.BuildImage{Own: []string{"base"}, Build: project.Build{Context: "/x", Pull: true, Contexts: map[string]string{"base": "docker-image://base"}}}); !errdefs.IsNotImplemented(err) {
		t.Errorf("pull with an image to begin with: %v", err)
	}
	if _, err := caches("cache_to", []string{"type=registry,ref"}, project.ReadCacheTo); !errdefs.IsInvalidArgument(err) {
		t.Errorf("malformed cache: %v", err)
	}
}
