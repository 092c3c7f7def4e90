package docker_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
)

// called runs gantry by a name of it, with more environment.
func called(d *harness.Daemon, name, dir string, env []string, args ...string) harness.Result {
	d.T.Helper()
	cmd := d.Called(name, dir, args...)
	cmd.Env = append(cmd.Env, env...)
	return d.Finish(cmd)
}

func mustBeCalled(d *harness.Daemon, name, dir string, args ...string) string {
	d.T.Helper()
	r := called(d, name, dir, nil, args...)
	if r.Code != 0 {
		d.T.Fatalf("%v\n%s", r, d.Log())
	}
	return r.Stdout
}

// One project and one container, seen and handled by all three names.
func TestThreeGrammarsShareOneDaemon(t *testing.T) {
	t.Parallel()
	d := start(t)
	p := d.Project("stack", "services: {web: {image: busybox:test, command: sleep 1000, init: true}}")
	mustBeCalled(d, "docker", p, "compose", "-f", filepath.Join(p, "compose.yaml"), "up", "-d")
	mustBeCalled(d, "docker", p, "run", "-d", "--init", "--name", "alone", "--network", "stack_default", image, "sleep", "1000")
	if out := mustBeCalled(d, "docker", p, "ps", "--filter", "label=com.docker.compose.project=stack", "--format", "{{.Names}} {{.Image}}"); out != "stack-web-1 busybox:test\n" {
		t.Errorf("docker ps: %q", out)
	}
	for _, line := range []string{"docker compose ps", "docker-compose ps", "gantry compose ps", "gantry ps"} {
		words := append(strings.Fields(line), "--format", "{{.Name}} {{.State}}")
		var out string
		if words[0] == "gantry" {
			out = d.Must(p, words[1:]...)
		} else {
			out = mustBeCalled(d, words[0], p, words[1:]...)
		}
		if out != "stack-web-1 running\n" {
			t.Errorf("%s: %q", line, out)
		}
	}
	if out := d.Must(p, "container", "exec", "alone", "nslookup", "web"); !strings.Contains(out, "Address") {
		t.Errorf("gantry container exec: %q", out)
	}
	ids := mustBeCalled(d, "docker", p, "ps", "-q", "--no-trunc")
	if same := d.Must(p, "container", "ls", "-q", "--no-trunc"); same != ids || len(strings.Fields(ids)) != 2 {
		t.Errorf("docker ps has %q, gantry container ls has %q", ids, same)
	}
	mustBeCalled(d, "docker", p, "rm", "-f", "alone")
	mustBeCalled(d, "docker-compose", p, "down")
	if left := mustBeCalled(d, "docker", p, "ps", "-aq"); left != "" {
		t.Errorf("left: %s", left)
	}
	if networks := d.Must(p, "network", "ls", "--format", "{{.Name}}"); strings.Contains(networks, "stack") {
		t.Errorf("networks left: %s", networks)
	}
}

func TestExitCodesOfRun(t *testing.T) {
	t.Parallel()
	d := start(t)
	run := func(args ...string) []string { return append([]string{"run", "--rm"}, args...) }
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{run(image, "true"), 0, ""},
		{run(image, "sh", "-c", "exit 9"), 9, ""},
		{run(image, "nonsense"), 127, "executable file not found"},
		{run(image, "/etc"), 126, "permission denied"},
		{run("--nonsense", image, "true"), 125, "unknown flag: --nonsense"},
		{run("--pull", "never", "no/such:image", "true"), 125, "no/such:image"},
		{[]string{"exec", "nobody", "true"}, 1, "No such container: nobody"},
		{[]string{"inspect", "nobody"}, 1, "nobody"},
		{[]string{"rm", "nobody"}, 1, "No such container: nobody"},
		{[]string{"swarm", "init"}, 1, "not supported by Gantry"},
	} {
		if r := called(d, "docker", d.Dir, nil, tc.args...); r.Code != tc.code || !strings.Contains(r.Stderr, tc.want) {
			t.Errorf("want exit code %d with %q: %v", tc.code, tc.want, r)
		}
	}
	if ids := d.MustDocker("ps", "-aq"); ids != "" {
		t.Errorf("left behind: %s", ids)
	}
}

func TestTemplatesOfPs(t *testing.T) {
	t.Parallel()
	d := start(t)
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "box", "-l", "a=b", "-p", "127.0.0.1::80", image, "sleep", "1000"))
	for format, want := range map[string]string{
		`{{.ID}}`: id[:12], `{{.Names}}|{{.Image}}|{{.Command}}`: `box|busybox:test|"sleep 1000"`, `{{.Label "a"}}{{.Label "c"}}`: "b",
		`{{.State}} {{upper .Names}}`: "running BOX", `{{json .Labels}}`: `"a=b"`, `{{.Networks}}`: "bridge", `{{.LocalVolumes}} {{.Mounts}}`: "0 ",
	} {
		if out := d.MustDocker("ps", "--format", format); out != want+"\n" {
			t.Errorf("%s: %q, want %q", format, out, want)
		}
	}
	lines := strings.Split(d.MustDocker("ps", "-a", "--format", `table {{.ID}}\t{{.Image}}\t{{.CreatedAt}}\t{{.Names}}`), "\n")
	if head := strings.Fields(lines[0]); strings.Join(head, " ") != "CONTAINER ID IMAGE CREATED AT NAMES" || !strings.HasPrefix(lines[1], id[:12]) {
		t.Errorf("table: %q", lines)
	}
	if out := d.MustDocker("ps", "--format", `{{.Ports}}`); !strings.HasPrefix(out, "127.0.0.1:") || !strings.HasSuffix(out, "->80/tcp\n") {
		t.Errorf("ports: %q", out)
	}
	if r := d.FailDocker("ps", "--format", "{{.Nonsense}}"); !strings.Contains(r.Stderr, "Nonsense") {
		t.Errorf("a template's error: %v", r)
	}
}

// The context that the user chose for another engine is not followed; one that
// a command names is.
func TestContextsAreFollowedWhenNamed(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("create", "--name", "box", image)
	config := filepath.Join(d.Dir, "contexts")
	contexts := store.New(filepath.Join(config, "contexts"), command.DefaultContextStoreConfig())
	for name, host := range map[string]string{"mine": d.Host, "elsewhere": "unix://" + d.Dir + "/nobody.sock"} {
		if err := contexts.CreateOrUpdate(store.Metadata{
			Name: name, Metadata: command.DockerContext{}, Endpoints: map[string]any{docker.DockerEndpoint: docker.EndpointMeta{Host: host}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	d.Write("contexts/config.json", `{"currentContext": "elsewhere", "psFormat": "{{.Names}} is there"}`)
	const none = "DOCKER_HOST="
	for _, tc := range []struct {
		env  []string
		args string
		ok   bool
	}{
		{[]string{none, "GANTRY_HOST=" + d.Host}, "ps -a", true},
		{nil, "ps -a", true}, // DOCKER_HOST
		{[]string{none}, "--context mine ps -a", true},
		{[]string{none, "DOCKER_CONTEXT=mine"}, "ps -a", true},
		{[]string{none}, "-H " + d.Host + " ps -a", true},
		{[]string{"GANTRY_HOST=" + d.Host}, "--context elsewhere ps -a", false},
		{[]string{none}, "--context nonsense ps -a", false},
		{[]string{none}, "--context mine compose ls -q", true},
		{[]string{none}, "--context elsewhere compose ls -q", false},
	} {
		r := called(d, "docker", d.Dir, append(tc.env, "DOCKER_CONFIG="+config), strings.Fields(tc.args)...)
		want := "box is there\n"
		if strings.Contains(tc.args, "compose") {
			want = ""
		}
		if tc.ok && (r.Code != 0 || r.Stdout != want) || !tc.ok && r.Code == 0 {
			t.Errorf("%v: %v", tc.env, r)
		}
	}
}

// docker.sock leads to the daemon's socket, and daemon.json names more.
func TestSocketsOfTheDaemon(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/run", "gt-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	more := filepath.Join(dir, "docker.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: more})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	d := harness.Start(t)
	link := filepath.Join(d.Run(), "docker.sock")
	ask := func(path string) harness.Result {
		return called(d, "docker", d.Dir, nil, "-H", "unix://"+path, "version", "--format", "{{.Server.Version}}")
	}
	if r := ask(link); r.Code != 0 {
		t.Errorf("docker.sock in the exec root: %v", r)
	}
	d.Stop()
	if _, err := os.Lstat(link); !os.IsNotExist(err) {
		t.Errorf("docker.sock stays: %v", err)
	}

	d.Write("daemon.json", `{"hosts": ["`+d.Host+`", "unix://`+more+`"]}`)
	d.Launch()
	for _, path := range []string{link, more, filepath.Join(d.Run(), "gantry.sock")} {
		if r := ask(path); r.Code != 0 {
			t.Errorf("%s: %v", path, r)
		}
	}
	d.Kill9()
	d.Launch()
	for _, path := range []string{link, more} {
		if r := ask(path); r.Code != 0 {
			t.Errorf("%s after a kill: %v", path, r)
		}
	}

	// another daemon cannot take a socket that this one serves
	cmd := d.Command(d.Dir, "daemon", "--config-file", d.Write("other.json", "{}"), "--data-root", dir+"/data", "--exec-root", dir+"/run", "-H", "unix://"+more)
	if r := d.Finish(cmd); r.Code == 0 || !strings.Contains(r.Stderr, "somebody answers there already") || !strings.Contains(r.Stderr, more) {
		t.Errorf("a second daemon on the socket: %v", r)
	}
	if r := ask(more); r.Code != 0 {
		t.Errorf("after the other daemon's attempt: %v", r)
	}
	d.Stop()
	for _, path := range []string{link, more} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", path, err)
		}
	}
	d.Launch() // the harness ends it
}
