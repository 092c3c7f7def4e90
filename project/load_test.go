package project

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// write makes files in a directory of its own; each begins with "-- NAME --".
func write(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range strings.Split(archive, "-- ")[1:] {
		name, content, ok := strings.Cut(part, " --\n")
		if !ok {
			t.Fatalf("no file name in %q", part)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tryLoad loads DIR/compose.yaml.
func tryLoad(dir string, opts Options) (*Project, []Warning, error) {
	if opts.Files == nil {
		opts.Files = []string{filepath.Join(dir, "compose.yaml")}
	}
	if opts.Environment == nil {
		opts.Environment = []string{"HOME=/home/tester"}
	}
	return Load(context.Background(), opts)
}

func lines(problems []Problem, dir string) []string {
	var out []string
	for _, p := range problems {
		out = append(out, strings.ReplaceAll(p.String(), dir+"/", ""))
	}
	return out
}

// checkError compares an error's lines and class.
func checkError(t *testing.T, dir string, err, class error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want:\n%s", strings.Join(want, "\n"))
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if !errors.Is(err, class) {
		t.Errorf("error %q is not %q", err, class)
	}
}

func TestLoadErrorsNameFileLineAndColumn(t *testing.T) {
	tests := []struct {
		name, files string
		opts        Options
		class       error // nil: invalid argument
		want        []string
	}{
		{
			name:  "malformed YAML",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n   ports: []\n",
			want:  []string{"compose.yaml:4:4: did not find expected key"},
		},
		{
			name:  "malformed YAML in an included file",
			files: "-- compose.yaml --\ninclude: [sub/part.yaml]\n-- sub/part.yaml --\nservices: {web: {image: nginx}\n",
			want:  []string{"sub/part.yaml:2: did not find expected ',' or '}'"},
		},
		{
			name:  "duplicate key",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    image: other\n",
			want:  []string{`compose.yaml:4: mapping key "image" already defined at line 3`},
		},
		{
			name:  "not a mapping",
			files: "-- compose.yaml --\nservices: [web]\n",
			want:  []string{"compose.yaml:1:1: services must be a mapping"},
		},
		{
			name:  "unset required variable",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx:${TAG:?choose a tag}\n    ports:\n      - 80\n      - ${PORT?}:81\n",
			want: []string{
				"compose.yaml:3:5: error while interpolating services.web.image: required variable TAG is missing a value: choose a tag",
				"compose.yaml:6:9: error while interpolating services.web.ports.[]: required variable PORT is missing a value",
			},
		},
		{
			name:  "malformed variable",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    command: echo ${1\n",
			want: []string{"compose.yaml:4:5: invalid interpolation format for services.web.command. " +
				"You may need to escape any $ with another $. echo ${1"},
		},
		{
			name:  "unknown key",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    imagee: nginx\n",
			want:  []string{"compose.yaml:4:5: services.web.imagee: unknown key; check its spelling and its place"},
		},
		{
			name:  "unknown key at the top",
			files: "-- compose.yaml --\nservice:\n  web: {image: nginx}\n",
			want:  []string{"compose.yaml:1:1: service: unknown key; check its spelling and its place"},
		},
		{
			name:  "wrong type",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    environment: 5\n",
			want:  []string{"compose.yaml:4:5: services.web.environment must be a mapping"},
		},
		{
			name:  "no image",
			files: "-- compose.yaml --\nservices:\n  web:\n    command: x\n",
			want:  []string{`compose.yaml:2:3: service "web": no image; set image`},
		},
		{
			name: "undefined things",
			files: `-- compose.yaml --
services:
  web:
    image: nginx
    networks: {front: , back: {priority: 1}}
    volumes:
      - ./here:/here
      - data:/data
    depends_on:
      db: {condition: service_healthy}
    secrets: [key]
    configs: [conf]
  app:
    image: nginx
    network_mode: service:nobody
`,
			want: []string{
				`compose.yaml:4:16: service "web": network "front" is not defined; define it under the top-level key networks`,
				`compose.yaml:4:25: service "web": network "back" is not defined; define it under the top-level key networks`,
				`compose.yaml:7:9: service "web": volume "data" is not defined; define it under the top-level key volumes`,
				`compose.yaml:9:7: service "web": depends on service "db", which is not defined`,
				`compose.yaml:10:5: service "web": secret "key" is not defined`,
				`compose.yaml:11:5: service "web": config "conf" is not defined`,
				`compose.yaml:14:5: service "app": depends on service "nobody", which is not defined`,
			},
		},
		{
			name:  "dependency outside of the profiles",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    depends_on: [db]\n  db: {image: postgres, profiles: [data]}\n",
			want:  []string{`compose.yaml:4:5: service "web": depends on service "db", which is not active; enable its profile "data"`},
		},
		{
			name: "cycle",
			files: `-- compose.yaml --
services:
  a: {image: x, depends_on: [b]}
  b:
    image: x
    depends_on:
      c: {condition: service_started}
  c: {image: x, depends_on: {a: {condition: service_started}}}
`,
			want: []string{`compose.yaml:2:17: service "a": dependency cycle: a -> b -> c -> a`},
		},
		{
			name:  "a service that needs itself",
			files: "-- compose.yaml --\nservices:\n  a: {image: x, depends_on: [a]}\n",
			want:  []string{`compose.yaml:2:17: service "a": dependency cycle: a -> a`},
		},
		{
			name: "contradictions",
			files: `-- compose.yaml --
services:
  web:
    image: nginx
    network_mode: host
    networks: [front]
    scale: 2
    cpus: 1
    mem_limit: 1g
    healthcheck:
      test: ["curl", "x"]
    deploy: {replicas: 3, resources: {limits: {cpus: "2", memory: 1g}}}
    tmpfs: /data
    volumes: [/data]
networks: {front: }
`,
			want: []string{
				`compose.yaml:4:5: service "web": network_mode and networks exclude each other; keep one`,
				`compose.yaml:6:5: service "web": scale (2) and deploy.replicas (3) differ; keep one`,
				`compose.yaml:7:5: service "web": cpus (1) and deploy.resources.limits.cpus (2) differ; keep one`,
				`compose.yaml:10:7: service "web": a health check's test starts with CMD, CMD-SHELL or NONE, not "curl"`,
				`compose.yaml:13:15: service "web": tmpfs.0 and volumes.0 both mount on "/data"; keep one`,
			},
		},
		{
			name: "networks without a way out",
			files: `-- compose.yaml --
services:
  web:
    image: nginx
    networks: [back]
    ports: [80]
  both:
    image: nginx
    networks: [back, default]
    ports: [80]
  vpn:
    image: nginx
    network_mode: bridge
    links: [web]
  app:
    image: nginx
    volumes_from: [gone]
networks: {back: {internal: true}}
`,
			want: []string{
				`compose.yaml:5:5: service "web": ports cannot be published: every network of the service is internal; add one that is not, or remove the ports`,
				`compose.yaml:13:5: service "vpn": links need a network of the project; remove them or network_mode`,
				`compose.yaml:16:5: service "app": depends on service "gone", which is not defined`,
			},
		},
		{
			name: "bad values",
			files: `-- compose.yaml --
services:
  web:
    image: Nginx
    dns: [1.1.1]
    restart: sometimes
    expose: [many]
    ports:
      - {target: 80, published: 0-5}
      - {target: 80, protocol: icmp}
    security_opt: [apparmor]
    labels: {com.docker.compose.project: x}
    volumes:
      - {type: bind, source: ., target: relative}
    mac_address: nope
    networks: {front: {ipv4_address: "::1"}}
networks:
  front: {ipam: {config: [{subnet: 10.0.0.0, gateway: x}]}}
`,
			want: []string{
				`compose.yaml:4:5: service "web": dns "1.1.1" is not an IP address`,
				`compose.yaml:5:5: service "web": restart policy "sometimes" is not known; use no, always, on-failure[:ATTEMPTS] or unless-stopped`,
				`compose.yaml:6:14: service "web": expose "many" is not PORT, FIRST-LAST or either with /PROTOCOL`,
				`compose.yaml:8:9: service "web": published port "0-5": want PORT or FIRST-LAST between 1 and 65535`,
				`compose.yaml:9:9: service "web": port protocol "icmp" is not tcp or udp`,
				`compose.yaml:10:20: service "web": security_opt "apparmor" is not KEY=VALUE`,
				`compose.yaml:11:14: service "web": label "com.docker.compose.project" is Docker Compose's own; choose another name`,
				`compose.yaml:13:9: service "web": mount target "relative" is not an absolute path`,
				`compose.yaml:14:5: service "web": "nope" is not a MAC address such as 02:42:ac:11:00:02`,
				`compose.yaml:15:24: service "web": ipv4_address "::1" is not an IPv4 address`,
				`compose.yaml:17:28: network "front": subnet "10.0.0.0" is not a subnet such as 10.5.0.0/24`,
				`compose.yaml:17:46: network "front": gateway "x" is not an IP address`,
			},
		},
		{
			name:  "port that is none",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    ports:\n      - \"80:http\"\n",
			want:  []string{"compose.yaml:5:9: invalid containerPort: http"},
		},
		{
			name: "what would fail later",
			files: `-- compose.yaml --
services:
  a:
    image: Not An Image
    container_name: one
    ports: ["127.0.0.1:80:80", "8080:80", "9000-9001:90"]
    deploy: {replicas: 3}
  b:
    image: x
    container_name: one
    ports:
      - "80:80"
      - {target: 81, published: "8081"}
    networks: {front: {ipv4_address: 10.1.0.5}, plain: {ipv4_address: 10.2.0.5}}
    depends_on:
      c: {condition: service_healthy}
  c:
    image: x
    container_name: one.
    healthcheck: {disable: true}
    networks: {front: {ipv4_address: 10.9.0.5}}
  d:
    image: x
    networks: {front: {ipv4_address: 10.1.0.5}}
    ports: ["8081:81"]
networks:
  front: {ipam: {config: [{subnet: 10.1.0.0/24}]}}
  plain:
`,
			want: []string{
				`compose.yaml:3:5: service "a": image "Not An Image" is not valid: invalid reference format: repository name (library/Not An Image) must be lowercase`,
				`compose.yaml:4:5: service "a": container_name "one" can name one container only, but there are 3 replicas; remove container_name or scale to 1`,
				`compose.yaml:5:13: service "a": 3 replicas cannot all publish host port 80; publish a range, or only the container's port`,
				`compose.yaml:5:32: service "a": 3 replicas cannot all publish host port 8080; publish a range, or only the container's port`,
				`compose.yaml:5:43: service "a": 3 replicas cannot share the 2 host ports 9000-9001; publish a longer range`,
				`compose.yaml:9:5: service "b": container_name "one" is also that of service "a"`,
				`compose.yaml:11:9: service "b": host port 80/tcp: service "a" publishes it too`,
				`compose.yaml:13:49: service "b": the fixed address 10.2.0.5 needs a subnet; give network "plain" one under ipam.config`,
				`compose.yaml:15:7: service "b": waits for service "c" to be healthy, but that service's health check is disabled`,
				`compose.yaml:20:16: service "c": address 10.9.0.5 is outside of network "front"'s subnets [10.1.0.0/24]`,
				`compose.yaml:23:16: service "d": address 10.1.0.5 on network "front" is also that of service "b"`,
				`compose.yaml:24:13: service "d": host port 8081/tcp: service "b" publishes it too`,
			},
		},
		{
			name:  "missing env_file and secret",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    env_file: [gone.env]\n",
			class: errdefs.ErrNotFound,
			want:  []string{`compose.yaml:4:5: service "web": cannot read env_file "gone.env": no such file or directory`},
		},
		{
			name:  "missing secret",
			files: "-- compose.yaml --\nservices:\n  web:\n    image: nginx\n    secrets: [key]\nsecrets:\n  key:\n    file: ./gone\n",
			want:  []string{`compose.yaml:7:5: service "web": cannot use file "gone" of secret "key": no such file or directory`},
		},
		{
			name:  "no such service",
			files: "-- compose.yaml --\nservices:\n  web: {image: nginx}\n",
			opts:  Options{Services: []string{"wbe"}},
			class: errdefs.ErrNotFound,
			want:  []string{`no such service: "wbe"`},
		},
		{
			name:  "bad project name",
			files: "-- compose.yaml --\nservices:\n  web: {image: nginx}\n",
			opts:  Options{Name: "Not Good"},
			want: []string{`invalid project name "Not Good": must consist only of lowercase alphanumeric characters, ` +
				`hyphens, and underscores as well as start with a letter or number`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := write(t, test.files)
			class := test.class
			if class == nil {
				class = errdefs.ErrInvalidArgument
			}
			_, _, err := tryLoad(dir, test.opts)
			checkError(t, dir, err, class, test.want...)
		})
	}
}

func TestMissingComposeFileIsNotFound(t *testing.T) {
	dir := t.TempDir()
	_, _, err := tryLoad(dir, Options{})
	checkError(t, dir, err, errdefs.ErrNotFound, "compose.yaml: cannot read compose file: no such file or directory")

	_, _, err = tryLoad(dir, Options{Files: []string{}, ProjectDirectory: dir})
	if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), "no compose file found in") {
		t.Errorf("discovery: %v", err)
	}

	_, _, err = tryLoad(dir, Options{EnvFiles: []string{filepath.Join(dir, "gone.env")}})
	checkError(t, dir, err, errdefs.ErrNotFound, "couldn't find env file: gone.env")
}

func TestTabIsNamed(t *testing.T) {
	dir := write(t, "-- compose.yaml --\nservices:\n  web:\n  \timage: x\n")
	_, _, err := Load(context.Background(), Options{Files: []string{filepath.Join(dir, "compose.yaml")}})
	want := filepath.Join(dir, "compose.yaml") + ":3:3: a tab indents this line; YAML allows spaces only"
	if err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v, want %s", err, want)
	}
}
