package docker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/moby/moby/api/types/container"
)

// names are the containers that ps shows with the given filters, sorted.
func names(d *harness.Daemon, args ...string) string {
	d.T.Helper()
	out := strings.Fields(d.MustDocker(append([]string{"ps", "--format", "{{.Names}}"}, args...)...))
	slices.Sort(out)
	return strings.Join(out, " ")
}

// removeLast removes a network or volume at the test's end, with all containers
// before it.
func removeLast(d *harness.Daemon, kind, name string) {
	d.T.Cleanup(func() {
		if ids := strings.Fields(d.MustDocker("ps", "-aq", "--no-trunc")); len(ids) > 0 {
			d.MustDocker(append([]string{"rm", "-fv"}, ids...)...)
		}
		d.MustDocker(kind, "rm", name)
	})
}

// pastEvents are what has happened of one kind, by a template.
func pastEvents(d *harness.Daemon, event, format string) string {
	d.T.Helper()
	end := strconv.FormatInt(time.Now().Unix()+1, 10) // a client counts in whole seconds
	return d.MustDocker("events", "--since", "1h", "--until", end, "--filter", "event="+event, "--format", format)
}

func TestPsSelectsAndShows(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("network", "create", "front")
	removeLast(d, "network", "front")
	d.MustDocker("run", "-d", "--name", "web", "--network", "front", "-p", "127.0.0.1::80", "--label", "tier=front", "-v", "data:/data",
		"--health-cmd", "true", "--health-interval", "1s", image, "sleep", "1000")
	removeLast(d, "volume", "data")
	if r := d.Docker("run", "--name", "job", "--label", "tier=back", image, "sh", "-c", "echo made > /file; exit 3"); r.Code != 3 {
		t.Fatal(r)
	}
	d.MustDocker("commit", "job", "child:1")
	d.MustDocker("create", "--name", "child", "child:1", "true", "it is")
	d.MustDocker("run", "-d", "--name", "froze", image, "sleep", "1000")
	d.MustDocker("pause", "froze")
	harness.Eventually(t, "web is healthy", func() error {
		if s := inspect(d, "web", "{{.State.Health.Status}}"); s != "healthy" {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	for args, want := range map[string]string{
		"":                                    "froze web",
		"-a":                                  "child froze job web",
		"-n 2":                                "child froze",
		"-l":                                  "froze",
		"-f status=created":                   "child",
		"-f status=paused":                    "froze",
		"-a -f exited=3":                      "job",
		"-a -f label=tier":                    "child job web",
		"-a -f label=tier=back":               "child job",
		"-a -f name=^/jo":                     "job",
		"-a -f before=job":                    "web",
		"-a -f since=job":                     "child froze",
		"-a -f ancestor=" + image:             "child froze job web",
		"-a -f ancestor=child:1":              "child",
		"-f volume=data":                      "web",
		"-f volume=/data":                     "web",
		"-f network=front":                    "web",
		"-f publish=80":                       "web",
		"-f expose=80/tcp":                    "web",
		"-f health=healthy":                   "web",
		"-f health=none":                      "froze",
		"-a -f is-task=true":                  "",
		"-a -f status=exited -f label=nobody": "",
	} {
		if got := names(d, strings.Fields(args)...); got != want {
			t.Errorf("ps %s: %s, want %s", args, got, want)
		}
	}
	shown := func(name, format string) string {
		return strings.TrimSpace(d.MustDocker("ps", "-a", "-f", "name=^"+name+"$", "--format", format))
	}
	for _, c := range []struct{ name, format, begins, ends string }{
		{"web", "{{.Status}}", "Up ", "(healthy)"},
		{"web", "{{.Ports}}", "127.0.0.1:", "->80/tcp"},
		{"web", "{{.Mounts}} {{.LocalVolumes}} {{.Networks}}", "data 1 front", ""},
		{"froze", "{{.Status}}", "Up ", "(Paused)"},
		{"job", "{{.Status}}", "Exited (3) ", " ago"},
		{"job", "{{.Size}}", "", ")"},
		{"child", "{{.Status}}|{{.Image}}|{{.Command}}", `Created|child:1|"true 'it is'"`, ""},
	} {
		if got := shown(c.name, c.format); !strings.HasPrefix(got, c.begins) || !strings.HasSuffix(got, c.ends) {
			t.Errorf("%s of %s: %q, want %q … %q", c.format, c.name, got, c.begins, c.ends)
		}
	}
	for filter, says := range map[string]string{"nonsense=1": "invalid filter 'nonsense'", "status=asleep": "invalid value for state (asleep)", "exited=x": "invalid filter 'exited=x'"} {
		if r := d.FailDocker("ps", "-f", filter); !strings.Contains(r.Stderr, says) {
			t.Errorf("filter %s: %s", filter, r.Stderr)
		}
	}
	// a name that another image has got is not this container's image any more
	d.MustDocker("tag", image, "child:1")
	if got := shown("child", "{{.Image}}"); !strings.HasPrefix(inspect(d, "child", "{{.Image}}"), "sha256:"+got) || len(got) != 12 {
		t.Errorf("image of a container whose image lost its name: %q", got)
	}
}

func TestInspectTellsTheTruth(t *testing.T) {
	t.Parallel()
	d := start(t)
	dir := t.TempDir()
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "it", "--label", "a=b", "-v", "vol:/v", "-v", dir+":/host:ro", "--health-cmd", "echo probe", "--health-interval", "1s", image, "sleep", "1000"))
	removeLast(d, "volume", "vol")
	harness.Eventually(t, "a probe has run", func() error {
		if s := inspect(d, "it", "{{.State.Health.Status}}"); s != "healthy" {
			return fmt.Errorf("it is %s", s)
		}
		return nil
	})
	var got []container.InspectResponse
	if err := json.Unmarshal([]byte(d.MustDocker("inspect", "--size", id[:10])), &got); err != nil || len(got) != 1 {
		t.Fatalf("%d objects, %v", len(got), err)
	}
	c := got[0]
	if c.ID != id || c.Name != "/it" || c.Path != "sleep" || c.Platform != "linux" || c.Driver != "overlayfs" || c.Config.Labels["a"] != "b" || c.Config.Image != image {
		t.Errorf("what it is: %+v", c)
	}
	if c.Image != inspect(d, image, "{{.Id}}") || c.ImageManifestDescriptor == nil && c.GraphDriver == nil {
		t.Errorf("its image: %s %+v", c.Image, c.ImageManifestDescriptor)
	}
	s := c.State
	if !s.Running || s.Status != "running" || s.Pid == 0 || s.FinishedAt != "0001-01-01T00:00:00Z" || len(s.Health.Log) == 0 || s.Health.Log[0].Output != "probe\n" {
		t.Errorf("its state: %+v %+v", s, s.Health)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", s.Pid)); err != nil {
		t.Error(err)
	}
	h := c.HostConfig
	if h.NetworkMode != "bridge" || h.IpcMode != "private" || h.Runtime != "runc" || h.CgroupnsMode == "" || h.ShmSize != 64<<20 || len(h.MaskedPaths) == 0 || len(h.ReadonlyPaths) == 0 || h.LogConfig.Type != "json-file" || h.RestartPolicy.Name != "no" {
		t.Errorf("its host configuration: %+v", h)
	}
	mounts := map[string]container.MountPoint{}
	for _, m := range c.Mounts {
		mounts[m.Destination] = m
	}
	if v := mounts["/v"]; v.Type != "volume" || v.Name != "vol" || v.Driver != "local" || v.Mode != "z" || !v.RW || filepath.Base(v.Source) != "_data" {
		t.Errorf("its volume: %+v", v)
	}
	if b := mounts["/host"]; b.Type != "bind" || b.Source != dir || b.RW || b.Mode != "ro" || b.Propagation != "rprivate" {
		t.Errorf("its bind: %+v", b)
	}
	if c.SizeRootFs == nil || *c.SizeRootFs <= *c.SizeRw || *c.SizeRootFs < 1<<20 {
		t.Errorf("its size: %v of %v", c.SizeRw, c.SizeRootFs)
	}
	for _, f := range []string{c.HostsPath, c.HostnamePath, c.ResolvConfPath, c.LogPath} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	d.MustDocker("kill", "it")
	if got := inspect(d, "it", "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}}"); got != "exited 137 false 0" {
		t.Errorf("after its end: %s", got)
	}
	if r := d.FailDocker("inspect", "nobody"); !strings.Contains(strings.ToLower(r.Stderr), "no such object: nobody") {
		t.Error(r)
	}
	if r := d.FailDocker("start", "nobody"); !strings.Contains(r.Stderr, "No such container: nobody") {
		t.Error(r)
	}
}

func TestNamesAndStatesAreRefusedInDockersWords(t *testing.T) {
	t.Parallel()
	d := start(t)
	anonymous := strings.TrimSpace(d.MustDocker("create", image, "true"))
	if name := inspect(d, anonymous, "{{.Name}}"); !strings.Contains(name, "_") {
		t.Errorf("a container that nobody named is %q", name)
	}
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "one", image, "sleep", "1000"))
	other := strings.TrimSpace(d.MustDocker("create", "--name", "two", image, "true"))
	taken := fmt.Sprintf(`Conflict. The container name "/one" is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.`, id)
	for command, says := range map[string]string{
		"create --name one " + image: taken,
		"rename two one":             taken,
		"rename two two":             "Renaming a container with the same name as its current name",
		"rename two !":               "Invalid container name (!), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
		"kill two":                   "cannot kill container: two: container " + other + " is not running",
		"pause two":                  "container " + other + " is not running",
		"top two":                    "container " + other + " is not running",
		"unpause one":                "Container " + id + " is not paused",
		"rm one":                     `cannot remove container "/one": container is running: stop the container before removing or force remove`,
		"top one -o comm":            "Couldn't find PID field in ps output",
		"wait nobody":                "No such container: nobody",
		"top nobody":                 "No such container: nobody",
	} {
		if r := d.FailDocker(strings.Fields(command)...); !strings.Contains(r.Stderr, says) {
			t.Errorf("%s: %s", command, r.Stderr)
		}
	}
	d.MustDocker("pause", "one")
	if r := d.FailDocker("pause", "one"); !strings.Contains(r.Stderr, "is already paused") {
		t.Error(r)
	}
	if r := d.FailDocker("start", "one"); !strings.Contains(r.Stderr, "cannot start a paused container, try unpause instead") {
		t.Error(r)
	}
	d.MustDocker("unpause", "one")
	if out := d.MustDocker("top", "one", "-o", "pid,args"); !strings.Contains(out, "sleep 1000") {
		t.Error(out)
	}
	d.MustDocker("rename", "one", "uno")
	d.MustDocker("stop", "-t", "0", "uno", "two")
	if got := inspect(d, id, "{{.Name}} {{.State.Status}}"); got != "/uno exited" {
		t.Error(got)
	}
	if out := d.MustDocker("wait", "uno"); out != "137\n" {
		t.Errorf("wait for one that has ended: %q", out)
	}
}

// A container that is renamed while it runs is found by its new name alone.
func TestRenameReachesNetworks(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("network", "create", "net")
	removeLast(d, "network", "net")
	d.MustDocker("run", "-d", "--name", "before", "--network", "net", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "asks", "--network", "net", image, "sleep", "1000")
	d.MustDocker("exec", "asks", "nslookup", "before.", "127.0.0.11")
	d.MustDocker("rename", "before", "after")
	d.MustDocker("exec", "asks", "nslookup", "after.", "127.0.0.11")
	d.FailDocker("exec", "asks", "nslookup", "before.", "127.0.0.11")
	if out := pastEvents(d, "rename", "{{.Actor.Attributes.oldName}} {{.Actor.Attributes.name}}"); out != "/before after\n" {
		t.Errorf("event: %q", out)
	}
}

func TestCommitMakesAnImageOfAContainer(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "src", "-e", "A=1", "-l", "from=src", image, "sh", "-c", "echo made > /made; touch /tmp/ready; sleep 1000")
	harness.Eventually(t, "the file is there", func() error {
		if r := d.Docker("exec", "src", "test", "-e", "/tmp/ready"); r.Code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	d.MustDocker("commit", "-m", "a message", "-a", "An Author", "-c", "ENV B=2", "-c", `ENTRYPOINT ["cat"]`, "-c", "CMD /made", "src", "made:1")
	got := inspect(d, "made:1", "{{.Comment}}|{{.Author}}|{{.Config.Env}}|{{.Config.Entrypoint}}|{{index .Config.Labels \"from\"}}|{{len .RootFS.Layers}}")
	if !strings.HasPrefix(got, "a message|An Author|[") || !strings.Contains(got, "A=1 ") || !strings.HasSuffix(got, " B=2]|[cat]|src|2") {
		t.Errorf("the image: %s", got)
	}
	if out := d.MustDocker("run", "--rm", "made:1", "/made"); out != "made\n" {
		t.Errorf("a container of it prints %q", out)
	}
	if s := inspect(d, "src", "{{.State.Status}}"); s != "running" {
		t.Errorf("the container is %s after it", s)
	}
	// without its command, as the entrypoint is another
	d.MustDocker("commit", "-c", `ENTRYPOINT ["echo","entry"]`, "src", "made:2")
	if out := d.MustDocker("run", "--rm", "made:2"); out != "entry\n" {
		t.Errorf("with an entrypoint alone: %q", out)
	}
	if r := d.FailDocker("commit", "-c", "RUN true", "src"); !strings.Contains(r.Stderr, "run is not a valid change command") {
		t.Error(r)
	}
	d.MustDocker("rm", "-f", "src")
	d.MustDocker("rmi", "made:1", "made:2")
}

func TestPruneTakesWhatDoesNotRun(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "runs", image, "sleep", "1000")
	d.MustDocker("create", "--name", "kept", "--label", "keep", image, "true")
	d.MustDocker("run", "--name", "ended", image, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=2 2>/dev/null")
	if out := d.MustDocker("container", "prune", "-f", "--filter", "until=1h"); !strings.Contains(out, "reclaimed space: 0B") {
		t.Errorf("younger ones: %s", out)
	}
	ended := inspect(d, "ended", "{{.Id}}")
	if out := d.MustDocker("container", "prune", "-f", "--filter", "label!=keep"); !strings.Contains(out, ended) || !strings.Contains(out, "reclaimed space: 2.") {
		t.Errorf("prune: %s", out)
	}
	if got := names(d, "-a"); got != "kept runs" {
		t.Errorf("left: %s", got)
	}
	if r := d.FailDocker("container", "prune", "-f", "--filter", "size=1"); !strings.Contains(r.Stderr, "invalid filter 'size'") {
		t.Error(r)
	}
	if out := pastEvents(d, "prune", "{{.Type}} {{.Actor.Attributes.reclaimed}}"); !strings.HasPrefix(out, "container 0\ncontainer 2") {
		t.Errorf("events: %q", out)
	}
}
