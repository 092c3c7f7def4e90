package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gantry/cmd/gantry/docker"
)

// recorder answers like a daemon with one container and one image, and keeps
// what it is asked for.
type recorder struct {
	host    string
	mu      sync.Mutex
	asked   []string
	headers http.Header // of the last request
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{host: "unix://" + socket}
	s := &http.Server{Handler: r}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked, r.headers = append(r.asked, req.Method+" "+req.URL.Path), req.Header
	w.Header().Set("Api-Version", "1.44")
	w.Header().Set("Ostype", "linux")
	switch {
	case strings.HasSuffix(req.URL.Path, "/containers/json"):
		w.Write([]byte(`[{"Id": "0123456789abcdef", "Names": ["/lively_lamp"], "Image": "busybox", "State": "running"}]`))
	case strings.HasSuffix(req.URL.Path, "/images/json"):
		w.Write([]byte(`[{"Id": "sha256:0123456789abcdef", "RepoTags": ["busybox:latest"]}]`))
	case strings.HasSuffix(req.URL.Path, "/_ping"):
	default:
		http.Error(w, `{"message": "not in tests"}`, http.StatusNotFound)
	}
}

// call runs a command line of the program by a name of it.
func call(t *testing.T, name string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c, out, errs := newTestCLI(t)
	c.name = name
	c.getenv = func(k string) string {
		if env == nil && k == "GANTRY_HOST" {
			return "unix:///nonexistent/s"
		}
		return env[k]
	}
	c.conn.start = func(context.Context, string) error { return errors.New("no daemon in tests") }
	code = execute(t.Context(), c, args)
	return code, out.String(), errs.String()
}

func TestNameChoosesTheGrammar(t *testing.T) {
	for _, tc := range []struct {
		line string
		code int
		want string
	}{
		{"docker --version", 0, "Docker version " + docker.CLIVersion + ", build gantry-dev\n"},
		{"docker --help", 0, "\n  run         Create and run a new container"},
		{"docker", 0, "\n  compose     Define and run"},
		{"docker run --help", 0, "Usage:  docker run [OPTIONS] IMAGE [COMMAND] [ARG...]"},
		{"docker help image prune", 0, "Usage:  docker image prune [OPTIONS]"},
		{"docker nonsense", 1, "docker: unknown command: docker nonsense\n\nRun 'docker --help' for more information"},
		{"docker --nonsense", 125, "unknown flag: --nonsense"},
		{"docker run --nonsense", 125, "Run 'docker run --help'"},
		{"docker ps extra", 1, "'docker ps' accepts no arguments"},
		{"docker image nonsense", 1, "docker: unknown command: docker image nonsense"},
		{"docker -H unix:///a -H unix:///b ps", 125, "specify only one -H"},
		{"docker -H unix:///a --context b ps", 1, "cannot specify both --host and --context"},
		{"docker run --cpu-count 1 busybox", 1, "only supported on a Docker daemon running on windows"},
		{"docker compose version", 0, "Gantry version dev"},
		{"docker compose up --help", 0, "docker compose up"},
		{"docker compose up --nonsense", 16, "see 'docker compose up --help'"},
		{"docker compose nonsense", 16, `unknown command: "docker compose nonsense"`},
		{"docker-compose version --short", 0, "dev\n"},
		{"docker-compose --help", 0, "docker-compose [command]"},
		{"docker-compose nonsense", 16, `unknown command: "docker-compose nonsense"`},
		{"docker-compose image ls", 16, `unknown command: "docker-compose image"`},
		{"gantry --help", 0, "Management Commands:\n  builder "},
		{"gantry image --help", 0, "Usage:  gantry image COMMAND"},
		{"gantry help volume", 0, "Usage:  gantry volume COMMAND"},
		{"gantry help container run", 0, "Usage:  gantry container COMMAND"},
		{"gantry container run --help", 0, "Usage:  gantry container run [OPTIONS] IMAGE"},
		{"gantry container run --nonsense", 125, "Run 'gantry container run --help'"},
		{"gantry system --help", 0, "\n  install     Write and enable a systemd unit"},
		{"gantry --dry-run image rm x", 16, "--dry-run is for compose verbs"},
		{"gantry swarm", 16, `unknown command: "gantry swarm"`},
	} {
		args := strings.Fields(tc.line)
		code, out, errs := call(t, args[0], nil, args[1:]...)
		if code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s%s", tc.line, code, tc.code, tc.want, out, errs)
		}
	}
}

func TestCommandsWithoutMeaningSayWhatToUse(t *testing.T) {
	_, help, _ := call(t, "docker", nil, "--help")
	for _, line := range []string{
		"swarm init", "node ls", "service create --name x y", "stack deploy", "secret ls", "config ls", "plugin install x", "trust sign x",
		"checkpoint create a b", "context use x", "scout quickview", "swarm --help", "-D swarm leave",
	} {
		args := strings.Fields(line)
		code, out, errs := call(t, "docker", nil, args...)
		name := args[slices.IndexFunc(args, func(a string) bool { return a[0] != '-' })]
		if code != 1 || out != "" || !strings.HasPrefix(errs, "docker "+name+" is not supported by Gantry: ") {
			t.Errorf("docker %s: exit code %d, %q, %q", line, code, out, errs)
		}
		if strings.Contains(help, "\n  "+name+" ") {
			t.Errorf("docker --help has %s", name)
		}
	}
}

// A daemon whose version is known is asked only what the command is about.
func TestRequestsOfACommand(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  string
		args []string
		want []string
	}{
		{"docker", "GANTRY_HOST", []string{"ps", "-a"}, []string{"GET /v1.56/containers/json"}},
		{"docker", "DOCKER_HOST", []string{"ps", "-a"}, []string{"HEAD /_ping", "GET /v1.44/containers/json"}},
		{"gantry", "GANTRY_HOST", []string{"image", "ls"}, []string{"GET /v1.56/images/json"}},
		{"docker", "GANTRY_HOST", []string{"run", "--help"}, nil},
		{"docker", "GANTRY_HOST", []string{"--version"}, nil},
		{"docker", "GANTRY_HOST", []string{"create", "--pull", "never", "busybox"}, []string{"POST /v1.56/containers/create"}},
	} {
		r := newRecorder(t)
		_, out, errs := call(t, tc.name, map[string]string{tc.env: r.host}, tc.args...)
		if !slices.Equal(r.asked, tc.want) {
			t.Errorf("%s %v asks %q, want %q\n%s%s", tc.name, tc.args, r.asked, tc.want, out, errs)
		}
	}
}

func TestUnreachableDaemonIsExplained(t *testing.T) {
	env := map[string]string{"GANTRY_HOST": "unix:///nonexistent/s", "DOCKER_TLS_VERIFY": "1"}
	for line, code := range map[string]int{"docker ps": 1, "docker run busybox": 125, "gantry container ls": 1, "docker compose ls": 1, "docker info": 1} {
		args := strings.Fields(line)
		got, _, errs := call(t, args[0], env, args[1:]...)
		if got != code || !strings.Contains(errs, "no daemon in tests") || strings.Contains(errs, "docker daemon running") {
			t.Errorf("%s: exit code %d, %q", line, got, errs)
		}
	}
}

func TestCompletionOfNames(t *testing.T) {
	r := newRecorder(t)
	env := map[string]string{"GANTRY_HOST": r.host}
	dir := t.TempDir()
	writeFile(t, dir+"/compose.yaml", "services: {web: {image: nginx}}")
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"docker", []string{"stop", ""}, "lively_lamp\n:4"},
		{"docker", []string{"image", "rm", ""}, "busybox:latest\n:4"},
		{"docker", []string{"compose", "--project-directory", dir, "logs", ""}, "web\n:4"},
		{"docker", []string{"run", "--netw"}, "--network\t"},
		{"docker-compose", []string{"--project-directory", dir, "logs", ""}, "web\n:4"},
		{"gantry", []string{"container", "stop", ""}, "lively_lamp\n:4"},
		{"gantry", []string{"container", "ls", "--no-tr"}, "--no-trunc\t"},
		{"gantry", []string{"system", "i"}, "info\tDisplay system-wide information\ninstall\t"},
		{"gantry", []string{"vol"}, "volume\tManage volumes"},
	} {
		code, out, errs := call(t, tc.name, env, append([]string{"__complete"}, tc.args...)...)
		if code != 0 || !strings.HasPrefix(out, tc.want) {
			t.Errorf("%s %v: exit code %d, %q, want %q\n%s", tc.name, tc.args, code, out, tc.want, errs)
		}
	}
	// nobody is there, and nobody is started for it
	if code, out, _ := call(t, "docker", map[string]string{"GANTRY_HOST": "unix:///nonexistent/s"}, "__complete", "stop", ""); code != 0 || out[0] != ':' {
		t.Errorf("without a daemon: exit code %d, %q", code, out)
	}
	for _, name := range []string{"docker", "docker-compose", "gantry"} {
		for _, shell := range []string{"bash", "zsh", "fish"} {
			if code, out, _ := call(t, name, nil, "completion", shell); code != 0 || !strings.Contains(out, name) {
				t.Errorf("%s completion %s: exit code %d", name, shell, code)
			}
		}
	}
}

// Plugins of the docker CLI are never run, and its configuration is honoured.
func TestConfigurationOfTheDockerCLI(t *testing.T) {
	r := newRecorder(t)
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	for _, path := range []string{"cli-plugins/docker-probe", "extra/docker-more", "cli-plugins/docker-buildx"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte("#!/bin/sh\necho \"$0\" >> "+ran+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, dir+"/config.json", `{"psFormat": "{{.Names}} it is", "HttpHeaders": {"X-Test": "yes"}, "currentContext": "elsewhere", "cliPluginsExtraDirs": ["`+dir+`/extra"],
		"plugins": {"probe": {"hooks": "ps"}}, "features": {"hooks": "true"}, "aliases": {"builder": "probe"}}`)
	env := map[string]string{"GANTRY_HOST": r.host}
	if code, out, errs := call(t, "docker", env, "--config", dir, "ps"); code != 0 || out != "lively_lamp it is\n" {
		t.Errorf("docker ps: exit code %d, %q, %q", code, out, errs)
	}
	if r.headers.Get("X-Test") != "yes" {
		t.Errorf("headers %v", r.headers)
	}
	for _, line := range []string{"info", "system info", "probe", "help probe", "buildx ls", "build .", "__complete pro"} {
		_, out, errs := call(t, "docker", env, append([]string{"--config", dir}, strings.Fields(line)...)...)
		if strings.Contains(out+errs, "docker-probe") || strings.Contains(out+errs, "duplicates") {
			t.Errorf("docker %s: %q, %q", line, out, errs)
		}
	}
	if b, err := os.ReadFile(ran); err == nil {
		t.Errorf("plugins were run: %s", b)
	}
}
