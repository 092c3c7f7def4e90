package build_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gantry/tests/harness"

	"github.com/moby/moby/api/types/registry"
	moby "github.com/moby/moby/client"
)

// python builds from a file on stdin with Docker's library, as its users do.
const python = `
import docker, io, sys
c = docker.from_env()
image, lines = c.images.build(fileobj=io.BytesIO(sys.stdin.buffer.read()), tag="python", pull=True, nocache=True)
print(image.tags, "".join(l.get("stream", "") for l in lines))
`

// A registry that wants a login gives the images that builds begin with, and
// takes what they make, from whoever has logged in: whichever way it is built.
func TestBuildsFromAndToPrivateRegistries(t *testing.T) {
	t.Parallel()
	h := start(t)
	addr := harness.Registry(t, "me", "right")
	harness.Push(t, addr+"/base:1", []string{"--dest-creds", "me:right"})
	from := "FROM " + addr + "/base:1\nRUN echo built from it\n"
	build := func(args ...string) harness.Result {
		t.Helper()
		return h.DockerInput(from, append([]string{"build", "--progress", "plain", "--pull", "--no-cache"}, append(args, "-")...)...)
	}
	dir := h.Project("p", "services:\n  app:\n    image: "+addr+"/composed:1\n    build:\n      context: .\n      pull: true\n      dockerfile_inline: |\n        FROM "+addr+"/base:1\n        RUN echo built from it\n")
	compose := func(args ...string) harness.Result {
		t.Helper()
		cmd := h.Command(dir, append([]string{"build"}, args...)...)
		cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+h.Dir+"/docker-config")
		return h.Finish(cmd)
	}
	script := func() harness.Result {
		t.Helper()
		cmd := h.Called("docker", h.Dir)
		cmd.Path, cmd.Args = "/usr/bin/python3", []string{"python3", "-c", python}
		cmd.Stdin = strings.NewReader(from)
		return h.Finish(cmd)
	}
	credentials := func(password string) map[string]registry.AuthConfig {
		return map[string]registry.AuthConfig{addr: {Username: "me", Password: password, ServerAddress: addr}}
	}
	post := func(password string) error {
		a, err := h.classic(tarred(t, map[string]string{"Dockerfile": from}), moby.ImageBuildOptions{PullParent: true, NoCache: true, AuthConfigs: credentials(password), Tags: []string{"posted"}})
		if err == nil && a.fail != nil {
			err = a.fail
		}
		return err
	}
	refused := func(how, text string) {
		t.Helper()
		if !strings.Contains(text, addr) || !strings.Contains(text, "401 Unauthorized") {
			t.Errorf("%s: %s", how, text)
		}
	}
	everyWay := func(who string) {
		t.Helper()
		refused(who+": docker build", build().Stderr)
		refused(who+": compose", compose().Stderr)
	}
	everyWay("nobody")
	if r := h.DockerInput("FROM "+image+"\n", "build", "--push", "-t", addr+"/made:0", "-"); r.Code == 0 {
		t.Error("a push without a login has succeeded")
	} else {
		refused("nobody: push", r.Stderr)
	}
	wrong := `{"auths": {"` + addr + `": {"auth": "bWU6d3Jvbmc="}}}` // me:wrong
	h.Write("docker-config/config.json", wrong)
	everyWay("a wrong password")
	if err := post("wrong"); err == nil {
		t.Error("POST /build with a wrong password has succeeded")
	} else {
		refused("a wrong password: POST /build", err.Error())
	}

	if err := os.Remove(h.Dir + "/docker-config/config.json"); err != nil {
		t.Fatal(err)
	}
	h.MustDocker("login", "-u", "me", "-p", "right", addr)
	if r := build("-t", "app"); r.Code != 0 || !strings.Contains(r.Stderr, "built from it") {
		t.Errorf("docker build: %v", r)
	}
	if r := build("-t", addr+"/made:1", "--push"); r.Code != 0 {
		t.Errorf("docker build --push: %v", r)
	}
	if r := compose("--push"); r.Code != 0 || !strings.Contains(r.Stderr, "built from it") {
		t.Errorf("compose: %v", r)
	}
	if err := post("right"); err != nil {
		t.Errorf("POST /build: %v", err)
	}
	if r := script(); r.Code != 0 || !strings.Contains(r.Stdout, "built from it") {
		t.Errorf("docker-py: %v", r)
	}
	h.MustDocker("rmi", "app", "posted", "python", addr+"/made:1", addr+"/composed:1")
	for _, name := range []string{"/made:1", "/composed:1"} {
		h.MustDocker("pull", addr+name)
		h.MustDocker("rmi", addr+name)
	}
	h.MustDocker("logout", addr)
	everyWay("somebody who has logged out") // others' tokens are not used for them
	h.MustDocker("image", "prune", "-f")
}

// Debian's docker command line knows the classic builder, and BuildKit without
// the buildx plugin.
func TestClassicClientOfDocker(t *testing.T) {
	t.Parallel()
	debian, err := exec.Command("../../scripts/docker-cli", t.TempDir()).Output()
	if err != nil {
		t.Fatalf("scripts/docker-cli: %v", err)
	}
	program := strings.TrimSpace(string(debian)) // of version 20.10
	d := daemon(t)
	url := repository(t, d)
	for name, content := range map[string]string{"Dockerfile": "FROM " + image + "\nCOPY . /all\nRUN echo has $(ls -A /all)\n", ".dockerignore": "Dockerfile\n.dockerignore\nno\n", "no": "", "yes": ""} {
		d.Write("ctx/"+name, content)
	}
	run := func(buildkit, input string, args ...string) harness.Result {
		t.Helper()
		cmd := d.DockerCommand(d.Dir, append([]string{"build"}, args...)...)
		cmd.Path, cmd.Args[0] = program, program
		cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT="+buildkit, "TMPDIR="+d.Dir) // where it leaves its clones
		cmd.Stdin = strings.NewReader(input)
		return d.Finish(cmd)
	}
	archive, err := io.ReadAll(tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\nCOPY f /\nRUN echo has $(cat /f)\n", "f": "packed"}))
	if err != nil {
		t.Fatal(err)
	}
	packed := string(compressed(t, "xz", archive))
	plugged := !strings.Contains(d.Finish(exec.Command(program, "--version")).Stdout, " 20.10.") // later ones have no BuildKit of their own
	for _, c := range []struct {
		buildkit, input, context, want string
	}{
		{"0", "", "ctx", "has yes"}, {"1", "", "ctx", "has yes"},
		{"0", packed, "-", "has packed"}, {"1", packed, "-", "has packed"},
		{"0", "FROM " + image + "\nRUN echo has nothing\n", "-", "has nothing"}, {"1", "FROM " + image + "\nRUN echo has nothing\n", "-", "has nothing"},
		{"0", "", url + "/repo.git#other:sub/dir", "in the directory"}, {"1", "", url + "/repo.git#other:sub/dir", "in the directory"},
	} {
		if plugged && c.buildkit == "1" {
			continue
		}
		r := run(c.buildkit, c.input, "--no-cache", "-t", "app", c.context)
		if !strings.Contains(r.Stdout+r.Stderr, c.want) || r.Code != 0 {
			t.Errorf("DOCKER_BUILDKIT=%s %s: no %q in %v", c.buildkit, c.context, c.want, r)
		}
	}
	if r := run("0", "", "-f", "none", "ctx"); r.Code == 0 {
		t.Errorf("without a Dockerfile: %v", r)
	}
	d.MustDocker("image", "rm", "app")
	d.MustDocker("image", "prune", "-f")
}
