package e2e_test

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
)

// Compose files come from git: as the project, as what it includes, and as what
// a service extends. What they mount lies beside them.
func TestProjectsFromRepositories(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox(image)
	served := filepath.Join(d.Dir, "web")
	repo := filepath.Join(served, "shop")
	d.Write("web/shop/compose.yaml", "services:\n  web: {image: \""+image+"\", command: cat /site/page, volumes: [\"./site:/site\"]}\n")
	d.Write("web/shop/site/page", "first\n")
	d.Write("web/shop/base/base.yaml", "services:\n  base: {image: \""+image+"\", command: [cat, /page], volumes: [\"./page:/page\"]}\n")
	d.Write("web/shop/base/page", "of the base\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(repo, "out.yaml")); err != nil {
		t.Fatal(err)
	}
	harness.Git(t, repo, "init", "-q")
	harness.Git(t, repo, "add", ".")
	harness.Git(t, repo, "commit", "-qm", "first")
	harness.Git(t, repo, "tag", "-am", "annotated", "v1")
	harness.Git(t, repo, "switch", "-qc", "topic/v1") // ends like the tag
	d.Write("web/shop/site/page", "second\n")
	harness.Git(t, repo, "commit", "-qam", "second")
	harness.Git(t, served, "clone", "-q", "--bare", "shop", "shop.git")
	harness.Git(t, filepath.Join(served, "shop.git"), "symbolic-ref", "HEAD", "refs/heads/topic/v1")
	s := httptest.NewServer(harness.Repositories(t, served))
	defer s.Close()
	url := s.URL + "/shop.git"

	for ref, want := range map[string]string{url: "second\n", url + "#v1": "first\n", url + "#topic/v1:compose.yaml": "second\n"} {
		d.Must(d.Dir, "-f", ref, "up", "-d")
		d.Must(d.Dir, "-p", "shop", "wait", "web")
		if got := d.Must(d.Dir, "-f", ref, "logs", "--no-log-prefix", "web"); got != want {
			t.Errorf("%s: %q", ref, got)
		}
		d.Must(d.Dir, "-f", ref, "down")
	}
	dir := filepath.Join(d.Dir, "p")
	d.Write("p/compose.yaml", "include: [\""+url+"#v1\"]\nservices:\n  more:\n    extends: {file: \""+url+"#v1:base/base.yaml\", service: base}\n")
	d.Must(dir, "up", "-d")
	d.Must(dir, "wait", "web", "more")
	if web, more := d.Must(dir, "logs", "--no-log-prefix", "web"), d.Must(dir, "logs", "--no-log-prefix", "more"); web != "first\n" || more != "of the base\n" {
		t.Errorf("included %q, extended %q", web, more)
	}
	d.Must(dir, "down")

	for ref, want := range map[string]string{
		url + "#nothing": `no "nothing"`, url + "#v1:none.yaml": "none.yaml", url + "#:out.yaml": "leads out", url + "#:../x": "..",
		s.URL + "/none.git": "none.git",
	} {
		if r := d.Fail(d.Dir, "-f", ref, "config"); !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, ref) {
			t.Errorf("%s: %v", ref, r)
		}
	}
}

// A project that Docker Compose has published is an artifact: its compose files
// in order, and the files that they name.
func TestProjectsFromRegistries(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox(image)
	addr := harness.Registry(t, "", "")
	publish(t, addr, "app", "application/vnd.docker.compose.project",
		file{"application/vnd.docker.compose.file+yaml", map[string]string{"com.docker.compose.file": "compose.yaml"},
			"services:\n  web: {image: nobody, extends: {file: x.yaml, service: base}, env_file: [e.env]}\n"},
		file{"application/vnd.docker.compose.file+yaml", map[string]string{"com.docker.compose.file": "image-digests.yaml"}, "services:\n  web: {image: \"" + image + "\"}\n"},
		file{"application/vnd.docker.compose.file+yaml", map[string]string{"com.docker.compose.file": "x.yaml", "com.docker.compose.extends": "true"},
			"services:\n  base: {command: [sh, -c, 'echo $$WORD']}\n"},
		file{"application/vnd.docker.compose.envfile", map[string]string{"com.docker.compose.envfile": "e.env"}, "WORD=published\n"})
	ref := "oci://" + addr + "/team/app:1"
	d.Must(d.Dir, "-f", ref, "up", "-d")
	d.Must(d.Dir, "-p", "app", "wait", "web")
	if got := d.Must(d.Dir, "-f", ref, "logs", "--no-log-prefix"); got != "published\n" {
		t.Errorf("it says %q", got)
	}
	d.Must(d.Dir, "-f", ref, "down")

	publish(t, addr, "escape", "application/vnd.docker.compose.project",
		file{"application/vnd.docker.compose.envfile", map[string]string{"com.docker.compose.envfile": "../../escaped"}, "x"})
	publish(t, addr, "picture", "application/x-picture", file{"image/png", nil, "x"})
	for name, want := range map[string]string{"escape": "../../escaped", "picture": "not a compose project", "none": "not found"} {
		if r := d.Fail(d.Dir, "-f", "oci://"+addr+"/team/"+name+":1", "config"); !strings.Contains(r.Stderr, want) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if found, _ := filepath.Glob(filepath.Join(d.Dir, "cache", "*", "escaped")); len(found) > 0 {
		t.Errorf("a file has left the copy: %q", found)
	}
}

// What publish pushes is a project that runs elsewhere, with the images that it
// was built with; secrets and what cannot be had there are told of before.
func TestPublish(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.Busybox(image)
	addr := harness.Registry(t, "", "")
	dir, ref := filepath.Join(d.Dir, "shop"), addr+"/team/shop:1"
	d.Write("shop/compose.yaml", strings.NewReplacer("REGISTRY", addr, "BASE", image).Replace(`
services:
  web:
    image: REGISTRY/team/web:1
    build:
      dockerfile_inline: |
        FROM BASE
        RUN echo built > /page
    command: [sh, -c, "cat /page; echo $$WORD $$OTHER"]
    environment: {OTHER: "${OTHER:-nothing}"}
    env_file: [words/web.env]
    volumes: ["data:/data"]
  tool: {profiles: [tools], image: REGISTRY/team/web:1}
volumes: {data: {}}
`))
	d.Write("shop/words/web.env", "WORD=published\n")
	if r := d.Fail(dir, "publish", ref); !strings.Contains(r.Stderr, "--with-env") {
		t.Errorf("its environment: %v", r)
	}
	d.Must(dir, "build", "-q")
	if out := d.Must(dir, "--dry-run", "publish", "--with-env", ref); !strings.Contains(out, "push image "+addr+"/team/web:1") || !strings.Contains(out, "publish "+ref) {
		t.Errorf("dry run: %s", out)
	}
	for _, version := range []string{"", "1.0", "1.1"} {
		d.Must(dir, "publish", "--with-env", "--oci-version", version, "--resolve-image-digests", addr+"/team/shop:v"+version)
	}
	d.MustDocker("rmi", addr+"/team/web:1")
	for _, version := range []string{"", "1.0", "1.1"} {
		ref := addr + "/team/shop:v" + version
		got := d.Must(d.Dir, "-f", "oci://"+ref, "config")
		if !strings.Contains(got, "/team/web:1@sha256:") || !strings.Contains(got, "WORD: published") || strings.Contains(got, "build:") || !strings.Contains(got, "name: shop") {
			t.Errorf("published:\n%s", got)
		}
		if out := d.Must(d.Dir, "-f", "oci://"+ref, "run", "--rm", "-e", "OTHER=here", "web"); out != "built\npublished here\n" {
			t.Errorf("it says %q", out)
		}
		d.Must(d.Dir, "-f", "oci://"+ref, "down", "-v")
	}
}

// Who publishes is told what others will see.
func TestPublishTellsWhatIsGivenAway(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	addr := harness.Registry(t, "", "")
	d.Write("open/compose.yaml", "services:\n  a:\n    image: "+image+"\n    environment: [\"DB_PASSWORD=x\", \"API_TOKEN=$T\"]\n    volumes: [\"./data:/data\"]\n")
	dir := filepath.Join(d.Dir, "open")
	r := d.Fail(dir, "publish", addr+"/team/open")
	for _, want := range []string{"DB_PASSWORD", "./data", "nothing was published"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	if strings.Contains(r.Stderr, "API_TOKEN") {
		t.Errorf("a variable is no secret: %v", r)
	}
	if r := d.GantryInput(dir, "y\n", "publish", addr+"/team/open"); r.Code != 0 {
		t.Error(r)
	}
	d.Must(dir, "-f", "oci://"+addr+"/team/open", "config", "-q")

	for name, c := range map[string]struct{ content, want string }{
		"built":   {"services:\n  a: {build: .}\n", "compose.yaml:2:3: "},
		"include": {"include: [../open/compose.yaml]\nservices: {}\n", "includes others"},
		"again":   {"services:\n  a: {extends: {file: \"oci://" + addr + "/team/open\", service: a}}\n", "comes from elsewhere"},
	} {
		d.Write(name+"/compose.yaml", c.content)
		if r := d.Fail(filepath.Join(d.Dir, name), "publish", "-y", addr+"/team/none"); !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: %v", name, r)
		}
	}
}

const image = "busybox:test"

type file struct {
	kind        string
	annotations map[string]string
	content     string
}

// publish pushes an artifact named team/NAME:1.
func publish(t *testing.T, addr, name, kind string, files ...file) {
	t.Helper()
	ctx := context.Background()
	repo, err := remote.NewRepository(addr + "/team/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	var layers []ocispec.Descriptor
	for _, f := range files {
		layer := ocispec.Descriptor{MediaType: f.kind, Digest: digest.FromString(f.content), Size: int64(len(f.content)), Annotations: f.annotations}
		if err := repo.Push(ctx, layer, strings.NewReader(f.content)); err != nil {
			t.Fatal(err)
		}
		layers = append(layers, layer)
	}
	manifest, err := oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, kind, oras.PackManifestOptions{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag(ctx, manifest, "1"); err != nil {
		t.Fatal(err)
	}
}
