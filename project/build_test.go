package project

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBuildIsResolved(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: shop
services:
  plain: {build: .}
  web:
    image: example.com/web
    pull_policy: build
    build:
      context: app
      dockerfile: docker/Dockerfile.web
      args: {FIXED: one, GIVEN: , GONE: }
      target: prod
      cache_from: ["type=registry,ref=example.com/cache"]
      cache_to: ["type=inline"]
      no_cache: true
      pull: true
      platforms: [linux/amd64]
      secrets: [file, {source: variable, target: token}]
      ssh: [default]
      labels: {a: b}
      tags: ["example.com/web:1"]
      additional_contexts: {base: "service:plain", docs: ./docs, other: "https://example.com/x.git"}
      network: none
      extra_hosts: ["db=10.0.0.1"]
      shm_size: 64m
      ulimits: {nofile: {soft: 10, hard: 20}, nproc: 5}
      entitlements: [network.host]
      privileged: true
      provenance: "false"
  remote: {build: {context: "https://example.com/app.git#main", dockerfile: sub/Dockerfile}}
  inline: {build: {dockerfile_inline: "FROM scratch"}}
secrets:
  file: {file: ./secret}
  variable: {environment: TOKEN}
-- secret --
s3cret
`)
	p, warnings, err := tryLoad(dir, Options{Environment: []string{"GIVEN=two", "TOKEN=hidden"}})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	at := func(path string) string { return filepath.Join(dir, path) }
	want := map[string]*Build{
		"plain":  {Context: dir, Dockerfile: at("Dockerfile")},
		"inline": {Context: dir, DockerfileInline: "FROM scratch"},
		"remote": {Context: "https://example.com/app.git#main", Dockerfile: "sub/Dockerfile"},
		"web": {
			Context: at("app"), Dockerfile: at("app/docker/Dockerfile.web"), Args: map[string]string{"FIXED": "one", "GIVEN": "two"}, Target: "prod",
			CacheFrom: []string{"type=registry,ref=example.com/cache"}, CacheTo: []string{"type=inline"}, NoCache: true, Pull: true,
			Platforms: []string{"linux/amd64"},
			Secrets:   []BuildSecret{{ID: "file", File: at("secret")}, {ID: "token", Environment: "TOKEN", Value: "hidden"}},
			SSH:       []BuildSSH{{ID: "default"}}, Labels: map[string]string{"a": "b"}, Tags: []string{"example.com/web:1"},
			Contexts: map[string]string{"base": "service:plain", "docs": at("docs"), "other": "https://example.com/x.git"},
			Network:  "none", ExtraHosts: []string{"db=10.0.0.1"}, ShmSize: 64 << 20, Ulimits: []string{"nofile=10:20", "nproc=5:5"},
			Entitlements: []string{"network.host"}, Privileged: true, Provenance: "false",
		},
	}
	got := map[string]*Build{}
	for _, s := range p.Services {
		got[s.Name] = s.Build
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	images := map[string]string{}
	for _, s := range p.Services {
		images[s.Name] = s.Image
	}
	if diff := cmp.Diff(map[string]string{"plain": "shop-plain", "inline": "shop-inline", "remote": "shop-remote", "web": "example.com/web"}, images); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	// the daemon keeps what was asked for: no secret may be in it
	if sent, _ := json.Marshal(p); strings.Contains(string(sent), "hidden") || strings.Contains(string(sent), "s3cret") {
		t.Error("the project as it is sent holds a secret")
	}
}

func TestBuildProblemsNameTheirPlace(t *testing.T) {
	for name, c := range map[string]struct{ compose, want string }{
		"platform":  {"services:\n  a:\n    platform: linux/arm64\n    build:\n      context: .\n      platforms: [linux/s390x]\n", "compose.yaml:6:7: service \"a\": the service runs on \"linux/arm64\" (platform), but is not built for it"},
		"network":   {"services:\n  a:\n    build:\n      context: .\n      network: mine\n", "compose.yaml:5:7: service \"a\": network \"mine\" is not supported for builds"},
		"secret":    {"services:\n  a:\n    build:\n      context: .\n      secrets: [s]\nsecrets: {s: {environment: NOT_SET}}\n", "compose.yaml:5:7: service \"a\": secret \"s\": the variable \"NOT_SET\" is not set"},
		"circle":    {"services:\n  a:\n    build: {context: ., additional_contexts: {b: \"service:b\"}}\n  b:\n    build: {context: ., additional_contexts: {a: \"service:a\"}}\n", "builds begin with each other's results: a -> b -> a"},
		"same name": {"services:\n  a:\n    image: x\n    build: {context: ., target: one}\n  b:\n    image: x\n    build: {context: ., target: two}\n", `image "x" is also built by service "a", in another way`},
		"policy":    {"services:\n  a:\n    image: x\n    pull_policy: build\n", `pull_policy "build" needs the key build`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := tryLoad(write(t, "-- compose.yaml --\n"+c.compose), Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want it to hold %q", err, c.want)
			}
		})
	}
}

func TestServicesShareTheBuildOfTheirImage(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: shop
services:
  a: {image: shop-b}
  b: {build: .}
  c: {image: "example.com/c:latest"}
  d: {image: example.com/c, build: ./d}
  e: {image: other, platform: linux/amd64}
  f: {image: other, build: .}
`)
	p, _, err := tryLoad(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range p.Services {
		if s.Build != nil {
			got[s.Name] = strings.TrimPrefix(s.Build.Context, dir)
			if s.ImageGiven {
				got[s.Name] += " given"
			}
		}
	}
	want := map[string]string{"a": "", "b": "", "c": "/d given", "d": "/d given", "f": " given"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
