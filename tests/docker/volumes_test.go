package docker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"
)

// words are the words of a command's output, in one line.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func volumes(d *harness.Daemon, filters ...string) string {
	d.T.Helper()
	args := []string{"volume", "ls", "-q"}
	for _, f := range filters {
		args = append(args, "--filter", f)
	}
	return words(d.MustDocker(args...))
}

func TestVolumesByHand(t *testing.T) {
	t.Parallel()
	d := start(t)
	since := time.Now().UTC().Format(time.RFC3339Nano)
	if got := d.MustDocker("volume", "create", "--label", "tier=back", "data"); got != "data\n" {
		t.Errorf("create: %q", got)
	}
	d.MustDocker("volume", "create", "--label", "tier=back", "data") // the same again
	d.MustDocker("volume", "create", "--label", "tier=front", "spare")
	random := strings.TrimSpace(d.MustDocker("volume", "create"))
	if len(random) != 64 {
		t.Errorf("a volume without a name is called %q", random)
	}
	var v []struct {
		Name, Driver, Scope, Mountpoint, CreatedAt string
		Labels, Options                            map[string]string
	}
	if err := json.Unmarshal([]byte(d.MustDocker("volume", "inspect", "data")), &v); err != nil {
		t.Fatal(err)
	}
	if v[0].Driver != "local" || v[0].Scope != "local" || v[0].Labels["tier"] != "back" || v[0].Mountpoint != filepath.Join(d.Data(), "volumes/data/_data") {
		t.Errorf("inspect: %+v", v[0])
	}
	if _, err := time.Parse(time.RFC3339, v[0].CreatedAt); err != nil {
		t.Error(err)
	}
	d.MustDocker("run", "--name", "user", "-v", "data:/d", "-v", "/anon", image, "sh", "-c", "echo x > /d/x; echo y > /anon/y")
	anonymous := volumes(d, "dangling=false", "label=com.docker.volume.anonymous")
	for filter, want := range map[string]string{
		"dangling=true":    words(random + " spare"),
		"label=tier=front": "spare",
		"label=tier":       "data spare",
		"name=dat":         "data",
		"driver=nfs":       "",
		"driver=local":     volumes(d),
	} {
		if got := volumes(d, filter); len(strings.Fields(got)) != len(strings.Fields(want)) || !strings.Contains(got, strings.TrimPrefix(want, random+" ")) {
			t.Errorf("ls with %s: %q, want %q", filter, got, want)
		}
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"get nothing: no such volume", []string{"inspect", "nothing"}},
		{"get nothing: no such volume", []string{"rm", "nothing"}},
		{"remove data: volume is in use - [" + fullID(d, "user") + "]", []string{"rm", "data"}},
		{`plugin "nfs" not found`, []string{"create", "-d", "nfs", "other"}},
		{"exists with another set of options", []string{"create", "-o", "type=tmpfs", "-o", "device=tmpfs", "data"}},
		{"names should be at least two alphanumeric characters", []string{"create", "a"}},
		{"includes invalid characters for a local volume name", []string{"create", "a/b"}},
		{`missing required option: "device"`, []string{"create", "-o", "type=nfs", "other"}},
		{`invalid option: "colour"`, []string{"create", "-o", "colour=red", "other"}},
		{"invalid filter 'colour'", []string{"ls", "--filter", "colour=red"}},
		{"invalid filter 'dangling=", []string{"ls", "--filter", "dangling=perhaps"}},
	} {
		says(t, d.FailDocker(append([]string{"volume"}, c.args...)...), c.want)
	}
	d.MustDocker("volume", "rm", "-f", "nothing")

	// by default only anonymous ones that nobody uses
	if got := d.MustDocker("volume", "prune", "-f"); !strings.Contains(got, random) || strings.Contains(got, "spare") || strings.Contains(got, anonymous) {
		t.Errorf("prune: %s", got)
	}
	d.MustDocker("rm", "user") // without -v: its anonymous volume stays
	if got := d.MustDocker("volume", "prune", "-af", "--filter", "label!=tier=front"); !strings.Contains(got, anonymous) || !strings.Contains(got, "data") ||
		!strings.Contains(got, "Total reclaimed space: 4B") {
		t.Errorf("prune of all but one: %s", got)
	}
	if got := volumes(d); got != "spare" {
		t.Errorf("left: %s", got)
	}
	d.MustDocker("volume", "rm", "spare")
	got := d.MustDocker("events", "--since", since, "--until", time.Now().UTC().Format(time.RFC3339Nano), "--filter", "type=volume",
		"--filter", "volume=data", "--format", `{{.Action}} {{.Actor.Attributes.driver}} {{index .Actor.Attributes "read/write"}} {{.Actor.Attributes.destination}}`)
	if want := "create local  <no value>\nmount local true /d\nunmount local  <no value>\ndestroy local  <no value>\n"; got != want {
		t.Errorf("events:\n%s", got)
	}
}

func TestVolumesAreWhatTheirOptionsSay(t *testing.T) {
	t.Parallel()
	d := start(t)
	host := filepath.Join(d.Dir, "host")
	if err := os.Mkdir(host, 0o755); err != nil {
		t.Fatal(err)
	}
	d.MustDocker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7,noexec", "memory")
	d.MustDocker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device="+host, "hosts")
	d.MustDocker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device="+host+"/later", "later")
	run := []string{"run", "--rm", "-v", "memory:/m", "-v", "hosts:/h:ro", image, "sh", "-c", "stat -c %u /m; grep ' /m ' /proc/mounts; touch /h/x"}
	r := d.FailDocker(run...)
	if !strings.HasPrefix(r.Stdout, "7\n") || !strings.Contains(r.Stdout, "size=1024k") || !strings.Contains(r.Stdout, "noexec") || !strings.Contains(r.Stderr, "Read-only") {
		t.Error(r)
	}
	d.MustDocker("run", "--rm", "-v", "hosts:/h", image, "touch", "/h/made")
	if _, err := os.Stat(filepath.Join(host, "made")); err != nil {
		t.Error(err)
	}
	says(t, d.FailDocker("run", "--rm", "-v", "later:/l", image, "true"), "failed to mount local volume: mount "+host+"/later:")
	if err := os.Mkdir(filepath.Join(host, "later"), 0o755); err != nil {
		t.Fatal(err)
	}
	// two users and a daemon that is killed: mounted once, unmounted at the end
	d.MustDocker("run", "-d", "--name", "one", "-v", "later:/l", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "two", "-v", "later:/l", image, "sleep", "1000")
	d.Kill9()
	d.Launch()
	d.MustDocker("rm", "-f", "one")
	d.MustDocker("exec", "two", "touch", "/l/still")
	d.MustDocker("rm", "-f", "two")
	d.NoLeaks()
	d.MustDocker("volume", "rm", "memory", "hosts", "later")
	if _, err := os.Stat(filepath.Join(host, "later/still")); err != nil {
		t.Errorf("a bound directory's content went with its volume: %v", err)
	}
}

func TestMountsOfContainers(t *testing.T) {
	t.Parallel()
	d := start(t)
	bound := filepath.Join(d.Dir, "bound")
	d.MustDocker("run", "--name", "first", "-v", "named:/n", "-v", "/anon", "-v", bound+":/b:ro", "--tmpfs", "/t", image, "sh", "-c", "echo n > /n/f; echo a > /anon/f")
	if st, err := os.Stat(bound); err != nil || !st.IsDir() { // made by -v
		t.Errorf("%v, %v", st, err)
	}
	got := d.FailDocker("run", "--rm", "--volumes-from", "first:ro", "-v", "own:/n", image, "sh", "-c", "ls /n; cat /anon/f; ls -d /t; touch /anon/g").String()
	if !strings.Contains(got, "--- stdout\na\n") || !strings.Contains(got, "/anon/g: Read-only") || !strings.Contains(got, "/t: No such file") {
		t.Errorf("volumes from another container: %s", got)
	}
	d.MustDocker("run", "--rm", "--volumes-from", "first", image, "sh", "-c", "cat /n/f && echo b > /anon/f && ! touch /b/x")
	if got := words(d.MustDocker("start", "-a", "first") + volumes(d, "label=com.docker.volume.anonymous")); len(got) != 64 {
		t.Errorf("after --rm of who shared it, the anonymous volume is %q", got)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"No such container: nobody", []string{"--volumes-from", "nobody"}},
		{"invalid mode: often", []string{"--volumes-from", "first:often"}},
		{`invalid mount config for type "bind": bind source path does not exist: ` + bound + "/none", []string{"--mount", "type=bind,source=" + bound + "/none,target=/x"}},
		{"invalid mode", []string{"-v", bound + ":/x:often"}},
		{"includes invalid characters for a local volume name", []string{"-v", "he/re:/x"}},
		{"Duplicate mount point: /x", []string{"-v", "one:/x", "-v", "two:/x"}},
		{`plugin "nfs" not found`, []string{"--volume-driver", "nfs", "-v", "new:/x"}},
	} {
		r := d.FailDocker(append(append([]string{"run", "--rm"}, c.args...), image, "true")...)
		says(t, r, c.want)
		if strings.Contains(r.Stderr, "Unable to find image") {
			t.Errorf("taken for a missing image: %v", r)
		}
	}
	d.MustDocker("run", "--rm", "-v", bound+":/b:ro,z,rslave", "-v", "named:/n:nocopy", "-v", "/gone", image, "true")
	d.MustDocker("rm", "-v", "first")
	if got := volumes(d); strings.Contains(got, "named") && strings.Contains(got, "own") && len(strings.Fields(got)) == 2 {
		return
	}
	t.Errorf("left: %s", volumes(d))
}
