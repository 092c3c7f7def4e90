package project

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoServices = `-- compose.yaml --
services:
  web: {image: "nginx:${TAG:-none}", depends_on: [db]}
  db: {image: "postgres:${TAG:-none}"}
  debug: {image: "busybox:${TAG:-none}", profiles: [dev], depends_on: [db], env_file: [gone.env]}
  extra: {image: busybox, profiles: [dev, other]}
  maybe: {image: busybox, depends_on: {extra: {condition: service_started, required: false}}}
`

// images says what was loaded: SERVICE=IMAGE.
func images(p *Project) string {
	var out []string
	for _, s := range p.Services {
		out = append(out, s.Name+"="+s.Image)
	}
	return strings.Join(out, " ")
}

// What flags, environment and files say, in Docker Compose's precedence.
func TestOptionsAndEnvironment(t *testing.T) {
	files := twoServices + `-- compose.override.yaml --
services:
  db: {image: override}
-- .env --
TAG=dotenv
-- other.env --
TAG=other
-- last.env --
TAG=last
-- more/one.yaml --
name: from-file
services: {a: {image: one}}
-- more/two.yml --
services: {a: {image: two}}
-- deep/er/.keep --
`
	tests := []struct {
		name string
		dir  string // to work in
		opts Options
		env  []string
		want string // services
		proj string // project name, when it matters
	}{
		{name: "discovery with override and .env", want: "db=override maybe=busybox web=nginx:dotenv"},
		{name: "discovery from below", dir: "deep/er", want: "db=override maybe=busybox web=nginx:dotenv"},
		{name: "-f leaves the override out", opts: Options{Files: []string{"compose.yaml"}}, want: "db=postgres:dotenv maybe=busybox web=nginx:dotenv"},
		{name: "the environment wins over .env", env: []string{"TAG=env"}, want: "db=override maybe=busybox web=nginx:env"},
		{name: "--env-file instead of .env", opts: Options{EnvFiles: []string{"other.env", "last.env"}}, want: "db=override maybe=busybox web=nginx:last"},
		{name: "COMPOSE_ENV_FILES", env: []string{"COMPOSE_ENV_FILES=other.env"}, want: "db=override maybe=busybox web=nginx:other"},
		{name: "COMPOSE_DISABLE_ENV_FILE", env: []string{"COMPOSE_DISABLE_ENV_FILE=1"}, want: "db=override maybe=busybox web=nginx:none"},
		{name: "many -f", opts: Options{Files: []string{"more/one.yaml", "more/two.yml"}}, want: "a=two", proj: "from-file"},
		{name: "COMPOSE_FILE", env: []string{"COMPOSE_FILE=more/one.yaml:more/two.yml"}, want: "a=two", proj: "from-file"},
		{name: "COMPOSE_PATH_SEPARATOR", env: []string{"COMPOSE_PATH_SEPARATOR=,", "COMPOSE_FILE=more/two.yml,more/one.yaml"}, want: "a=one"},
		{name: "-f wins over COMPOSE_FILE", opts: Options{Files: []string{"more/two.yml"}}, env: []string{"COMPOSE_FILE=gone"}, want: "a=two", proj: "more"},
		{name: "--project-name wins", opts: Options{Files: []string{"more/one.yaml"}, Name: "flag"}, env: []string{"COMPOSE_PROJECT_NAME=env"}, want: "a=one", proj: "flag"},
		{name: "COMPOSE_PROJECT_NAME before the file", opts: Options{Files: []string{"more/one.yaml"}}, env: []string{"COMPOSE_PROJECT_NAME=env"}, want: "a=one", proj: "env"},
		{name: "--project-directory", opts: Options{Files: []string{"more/two.yml"}, ProjectDirectory: "deep"}, want: "a=two", proj: "deep"},
		{name: "stdin", opts: Options{Files: []string{"-"}, Stdin: strings.NewReader("name: piped\nservices: {a: {image: stdin}}")}, want: "a=stdin", proj: "piped"},
		{name: "--profile", opts: Options{Profiles: []string{"other"}}, want: "db=override extra=busybox maybe=busybox web=nginx:dotenv"},
		{name: "COMPOSE_PROFILES", env: []string{"COMPOSE_PROFILES=nothing, other"}, want: "db=override extra=busybox maybe=busybox web=nginx:dotenv"},
		{name: "one service with its dependencies", opts: Options{Services: []string{"web"}}, want: "db=override web=nginx:dotenv"},
		{name: "a service of a profile", opts: Options{Services: []string{"extra"}}, want: "extra=busybox"},
		{name: "an optional dependency stays out", opts: Options{Services: []string{"maybe"}}, want: "maybe=busybox"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := write(t, files)
			t.Chdir(filepath.Join(dir, test.dir))
			test.opts.Environment = append([]string{"HOME=/home/tester"}, test.env...)
			p, warnings, err := Load(context.Background(), test.opts)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v %v", err, warnings)
			}
			if got := images(p); got != test.want {
				t.Errorf("services %s\n    want %s", got, test.want)
			}
			if test.proj != "" && p.Name != test.proj {
				t.Errorf("project %q, want %q", p.Name, test.proj)
			}
		})
	}
}

func TestProjectNamesItsFiles(t *testing.T) {
	dir := write(t, twoServices+"-- .env --\nTAG=1\n-- over.yaml --\nservices: {web: {labels: {a: b}}}\n")
	p, _, err := tryLoad(dir, Options{Files: []string{filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "over.yaml")}})
	if err != nil {
		t.Fatal(err)
	}
	want := &Project{
		WorkingDir:  dir,
		ConfigFiles: []string{filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "over.yaml")},
		EnvFiles:    []string{filepath.Join(dir, ".env")},
		Disabled:    []string{"debug", "extra"},
	}
	got := &Project{WorkingDir: p.WorkingDir, ConfigFiles: p.ConfigFiles, EnvFiles: p.EnvFiles, Disabled: p.Disabled}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	web, _ := p.Service("web")
	if got, want := web.Config.Labels[LabelConfigFiles], strings.Join(want.ConfigFiles, ","); got != want {
		t.Errorf("label %q, want %q", got, want)
	}
	if got := web.Config.Labels[LabelEnvFile]; got != filepath.Join(dir, ".env") {
		t.Errorf("environment file label %q", got)
	}
}

// Files that only an inactive service needs are not looked for; a selected
// one's are.
func TestFilesOfInactiveServicesAreNotRead(t *testing.T) {
	dir := write(t, twoServices)
	if _, _, err := tryLoad(dir, Options{}); err != nil {
		t.Error(err)
	}
	_, _, err := tryLoad(dir, Options{Services: []string{"debug"}})
	if err == nil || !strings.Contains(err.Error(), "gone.env") {
		t.Errorf("error %v", err)
	}
}

func TestModelShowsWhatConfigPrints(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: shown
services:
  web:
    image: nginx:${TAG:-1}
    command: echo $$HOME
    build: {context: ., isolation: hyperv}
    profiles: [dev]
    networks: [front]
    volumes: [data:/data]
    environment: {SECRET: "${NEEDED:?yes}", ALT: "${A:+b}"}
  db: {image: postgres, volumes: [data:/data]}
networks: {front: , unused: }
volumes: {data: }
`)
	opts := Options{Files: []string{filepath.Join(dir, "compose.yaml")}, Environment: []string{"NEEDED=x"}, Profiles: []string{"dev"}}
	m, warnings, err := LoadModel(context.Background(), opts, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "services.web.build") {
		t.Errorf("warnings %v", warnings)
	}
	got := map[string][]string{
		"services": m.Services(), "networks": m.Networks(), "volumes": m.Volumes(),
		"images": m.Images(), "profiles": m.Profiles(), "environment": m.Environment(),
	}
	want := map[string][]string{
		"services": {"db", "web"}, "networks": {"default", "front"}, "volumes": {"data"},
		"images": {"nginx:1", "postgres"}, "profiles": {"dev"}, "environment": {"COMPOSE_PROJECT_NAME=shown", "NEEDED=x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// what is printed can be loaded again and means the same
	for name, print := range map[string]func() ([]byte, error){"yaml": m.YAML, "json": m.JSON} {
		text, err := print()
		if err != nil {
			t.Fatal(err)
		}
		again := opts
		again.Files, again.Stdin, again.ProjectDirectory = []string{"-"}, strings.NewReader(string(text)), dir
		back, _, err := LoadModel(context.Background(), again, ModelOptions{})
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		first, _ := m.YAML()
		second, _ := back.YAML()
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("%s changed when loaded again:\n%s", name, diff)
		}
		if !strings.Contains(string(text), "$$HOME") {
			t.Errorf("%s does not escape $:\n%s", name, text)
		}
	}

	raw, _, err := LoadModel(context.Background(), Options{Files: opts.Files, Environment: []string{}}, ModelOptions{NoInterpolate: true, NoPathResolution: true})
	if err != nil {
		t.Fatal(err)
	}
	wantVars := []Variable{{Name: "A", Alternate: "b"}, {Name: "NEEDED", Required: true}, {Name: "TAG", Default: "1"}}
	if diff := cmp.Diff(wantVars, raw.Variables()); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	text, err := raw.YAML()
	if err != nil || !strings.Contains(string(text), "nginx:${TAG:-1}") {
		t.Errorf("%v\n%s", err, text)
	}
	if !slices.Equal(raw.Services(), []string{"db", "web"}) || !slices.Equal(raw.Profiles(), []string{"dev"}) {
		t.Errorf("services %v profiles %v", raw.Services(), raw.Profiles())
	}
}

// down, ps and the like must work with files that up would refuse.
func TestLenientLoadsWhatCannotBeStarted(t *testing.T) {
	dir := write(t, `-- compose.yaml --
services:
  dev: {image: x, profiles: [dev], ports: ["80:80"], container_name: web, env_file: gone.env, networks: [nowhere], volumes: [nothing:/x]}
  prod: {image: x, profiles: [prod], ports: ["80:80"], container_name: web, depends_on: [dev, gone], secrets: [key]}
  built: {build: ., dns: [x], network_mode: service:gone}
secrets: {key: {file: gone}}
`)
	p, warnings, err := tryLoad(dir, Options{Profiles: []string{"*"}, Lenient: true})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", err, warnings)
	}
	if diff := cmp.Diff([]string{"built", "dev", "prod"}, p.ServiceNames()); diff != "" {
		t.Error(diff)
	}
	if _, _, err := tryLoad(dir, Options{Profiles: []string{"*"}}); err == nil {
		t.Error("no error when it is to be started")
	}
}
