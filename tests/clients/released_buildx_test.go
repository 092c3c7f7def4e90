//go:build clients

package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

const bake = `
variable "TAG" { default = "v1" }
group "default" { targets = ["base", "top"] }
target "base" {
  dockerfile-inline = "FROM busybox:test\nARG X\nRUN echo $X > /x\n"
  args = { X = "1" }
  tags = ["base:${TAG}"]
}
target "top" {
  matrix = { m = ["a", "b"] }
  name = "top-${m}"
  contexts = { base = "target:base" }
  dockerfile-inline = "FROM base\nARG M\nRUN cat /x > /y && echo $M >> /y\n"
  args = { M = m }
  tags = ["top-${m}:${TAG}"]
}
`

func TestReleasedBuildx(t *testing.T) {
	t.Parallel()
	r := release(t, "docker-buildx")
	registry := harness.Registry(t, "", "")
	r.in("x", "", "docker-bake.hcl", bake, "file", "content\n", "token", "secret\n",
		"Dockerfile", "# syntax=docker/dockerfile:1\nFROM busybox:test AS base\nRUN --mount=type=cache,target=/c --mount=type=secret,id=t,required=true echo built > /v\nCOPY file /file\nFROM base\nRUN --network=none echo last\n")
	build := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(r.do(append(append([]string{"build", "--secret", "id=t,src=token"}, args...), ".")...))
	}
	want(t, "ls", r.do("ls"), "default*", "docker", "running", "linux/amd64")
	want(t, "inspect", r.do("inspect"), "org.mobyproject.buildkit.worker.moby.host-gateway-ip")

	// with attestations, which it asks for by itself
	id := build("-q", "-t", "one")
	if again := build("-q", "-t", "one"); again != id || strings.TrimSpace(r.d.MustDocker("image", "inspect", "-f", "{{.Id}}", "one")) != id {
		t.Errorf("an image is %s, then %s", id, again)
	}
	if got := r.d.MustDocker("run", "--rm", id, "cat", "/v", "/file"); got != "built\ncontent\n" {
		t.Errorf("the image has %q", got)
	}
	build("--load", "-t", "two", "--iidfile", "iid", "--metadata-file", "metadata.json", "--add-host", "me:host-gateway")
	want(t, "history", r.do("history", "ls"), "Completed")
	want(t, "history", r.do("history", "inspect"), "Build Steps", "slsa.dev/provenance")
	want(t, "du", r.do("du", "--verbose"), "echo last")

	build("--push", "-t", registry+"/pushed:1", "--annotation", "index:made=here")
	want(t, "imagetools", r.do("imagetools", "inspect", registry+"/pushed:1"), "application/vnd.oci.image.index.v1+json", "attestation-manifest", "linux/amd64")
	r.do("imagetools", "create", "-t", registry+"/pushed:2", registry+"/pushed:1")
	want(t, "provenance", r.do("imagetools", "inspect", registry+"/pushed:2", "--format", "{{json .Provenance}}"), "buildDefinition")
	r.d.MustDocker("pull", registry+"/pushed:2")

	for _, out := range []string{"type=local,dest=out", "type=tar,dest=out.tar", "type=oci,dest=oci.tar", "type=docker,dest=docker.tar", "type=cacheonly", "type=registry,name=" + registry + "/out", "type=image,name=out,push=false"} {
		build("-q", "-o", out)
	}
	for _, file := range []string{"out/file", "out.tar", "oci.tar", "docker.tar", "iid", "metadata.json"} {
		if info, err := os.Stat(filepath.Join(r.dir, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	r.d.MustDocker("load", "-i", filepath.Join(r.dir, "oci.tar"))

	for _, cache := range []struct{ to, from string }{
		{"type=local,dest=cache,mode=max", "type=local,src=cache"},
		{"type=registry,mode=max,ref=" + registry + "/cache", "type=registry,ref=" + registry + "/cache"},
	} {
		build("-q", "--cache-to", cache.to)
		want(t, "prune", r.do("prune", "-af"), "Total:")
		r.do("build", "--secret", "id=t,src=token", "--cache-from", cache.from, "-t", "cached", ".")
		if n := r.do("history", "inspect", "--format", "{{.NumCachedSteps}}"); n != "3\n" {
			t.Errorf("%s: %s steps were cached", cache.from, n)
		}
	}

	// for platforms that do not run here, as nothing has to
	r.in("many", "", "Dockerfile", "FROM scratch\nARG TARGETPLATFORM\nCOPY file /\nLABEL for=$TARGETPLATFORM\n", "file", "content\n")
	r.do("build", "--platform", "linux/amd64,linux/s390x", "-t", registry+"/many:1", "--push", ".")
	r.do("build", "--platform", "linux/amd64,linux/s390x", "-t", "many", "--load", ".")
	r.do("build", "--platform", "linux/amd64,linux/s390x", "-o", "type=local,dest=out", ".")
	want(t, "imagetools", r.do("imagetools", "inspect", registry+"/many:1"), "linux/amd64", "linux/s390x")
	for _, platform := range []string{"linux/amd64", "linux/s390x"} {
		if got := r.d.MustDocker("image", "inspect", "--platform", platform, "-f", "{{.Os}}/{{.Architecture}} {{.Config.Labels.for}}", "many"); got != platform+" "+platform+"\n" {
			t.Errorf("for %s there is %q", platform, got)
		}
		if _, err := os.Stat(filepath.Join(r.dir, "out", strings.ReplaceAll(platform, "/", "_"), "file")); err != nil {
			t.Error(err)
		}
	}
	r.dir = filepath.Join(r.d.Dir, "x")

	want(t, "targets", r.do("bake", "--print"), `"top-a"`, `"top-b"`)
	r.do("bake")
	if got := r.d.MustDocker("run", "--rm", "top-b:v1", "cat", "/y"); got != "1\nb\n" {
		t.Errorf("baked %q", got)
	}
	r.with("TAG=v2").do("bake", "--set", "*.args.X=5", "base")
	if got := r.d.MustDocker("run", "--rm", "base:v2", "cat", "/x"); got != "5\n" {
		t.Errorf("baked %q", got)
	}
	want(t, "check", r.do("build", "--check", "."), "no warnings found")
	want(t, "outline", r.do("build", "--call", "targets", "."), "base", "(default)")

	// the same as the plugin of each docker command line
	for _, docker := range dockerCLIs(t) {
		if got := runWith(t, r.d, r.dir, nil, docker, "buildx", "build", "--secret", "id=t,src=token", "-q", "."); strings.TrimSpace(got) != id {
			t.Logf("%s built %s", docker, got) // the cache was pruned: another time, another image
		}
		want(t, "compose", runWith(t, r.d, r.dir, nil, docker, "compose", "version"), "v2.40")
	}
}
