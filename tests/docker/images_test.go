package docker_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

// loadImage brings in a busybox image and returns its ID.
func loadImage(d *harness.Daemon, ref string, opts ...busybox.Option) (id string) {
	d.T.Helper()
	d.Busybox(ref, opts...)
	return strings.TrimSpace(d.MustDocker("image", "inspect", "-f", "{{.Id}}", ref))
}

// refuses fails the test unless the command fails with words.
func refuses(d *harness.Daemon, words string, args ...string) {
	d.T.Helper()
	if r := d.FailDocker(args...); !strings.Contains(r.Stderr, words) {
		d.T.Errorf("want %q: %v", words, r)
	}
}

func rows(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

// An image goes when its last name does, unless a container needs it.
func TestImageNamesComeAndGo(t *testing.T) {
	t.Parallel()
	d := start(t)
	id := strings.TrimPrefix(inspect(d, image, "{{.Id}}"), "sha256:")
	d.MustDocker("tag", id[:12], "team/tool:1")
	d.MustDocker("tag", image, "team/tool")
	if got := rows(d.MustDocker("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--filter", "reference=team/*")); !slices.Equal(got, []string{"team/tool:1 " + id[:12], "team/tool:latest " + id[:12]}) {
		t.Errorf("listed %q", got)
	}
	refuses(d, "No such image: none:latest", "tag", "none", "x")
	refuses(d, "No such image: none:latest", "image", "inspect", "none")
	refuses(d, "refusing to create a tag with a digest reference", "tag", image, "x@sha256:"+id)
	refuses(d, "image is referenced in multiple repositories", "rmi", id)

	d.MustDocker("run", "-d", "--name", "runs", image, "sleep", "1000")
	if got := rows(d.MustDocker("rmi", "team/tool", "team/tool:1")); !slices.Equal(got, []string{"Untagged: team/tool:latest", "Untagged: team/tool:1"}) {
		t.Errorf("removed %q", got)
	}
	refuses(d, `conflict: unable to remove repository reference "`+image+`" (must force) - container `, "rmi", image)
	refuses(d, "(cannot be forced) - image is being used by running container", "rmi", "-f", id[:12])
	if got := d.MustDocker("rmi", "-f", image); got != "Untagged: "+image+"\n" {
		t.Errorf("forced off a running container: %q", got)
	}
	if got := d.MustDocker("image", "ls", "-q", "--no-trunc", "-f", "dangling=true"); got != "sha256:"+id+"\n" {
		t.Errorf("dangling: %q", got)
	}
	d.MustDocker("kill", "runs")
	refuses(d, "(must be forced) - image is being used by stopped container", "rmi", id)
	if got := d.MustDocker("image", "prune", "-f", "-a"); strings.Contains(got, "deleted") {
		t.Errorf("pruned what a container uses: %q", got)
	}
	if got := d.MustDocker("rmi", "-f", id[:12]); got != "Deleted: sha256:"+id+"\n" {
		t.Errorf("forced off a stopped container: %q", got)
	}
	d.MustDocker("start", "runs") // its file system is its own
	d.MustDocker("rm", "-f", "runs")
}

// onDisk is how many bytes of images there are below a daemon's root.
func onDisk(d *harness.Daemon) (total int64) {
	d.T.Helper()
	for _, dir := range []string{"io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs/snapshots"} {
		harness.Files(d.T, filepath.Join(d.Data(), "containerd", dir), func(_ string, info fs.FileInfo) { total += info.Size() })
	}
	return total
}

// What prune says it gave back has left the disk.
func TestPruneGivesSpaceBack(t *testing.T) {
	t.Parallel()
	d := start(t)
	const size = 4 << 20
	big := func(seed string) busybox.Option {
		return busybox.Layer(busybox.File{Path: "/big", Body: strings.Repeat(seed, size/len(seed))})
	}
	old := loadImage(d, "big:1", big("a"), busybox.Label("keep", "no"))
	loadImage(d, "big:1", big("b"), busybox.Label("keep", "yes")) // the old one loses its name
	loadImage(d, "big:2", big("c"), busybox.Label("keep", "no"))
	before := onDisk(d)
	var reclaimed int64
	prune := func(args ...string) []string {
		t.Helper()
		events := d.DockerCommand(d.Dir, "events", "--since", "1", "--filter", "event=prune", "--format", "{{.Actor.Attributes.reclaimed}}", "--until")
		r := d.MustDocker(append([]string{"image", "prune", "-f"}, args...)...)
		events.Args = append(events.Args, now(d))
		out, err := events.Output()
		if err != nil {
			t.Fatal(err)
		}
		all := rows(string(out))
		n, err := strconv.ParseInt(all[len(all)-1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		reclaimed += n
		return rows(r)
	}
	if got := prune(); !slices.Contains(got, "deleted: "+old) || len(got) != 4 {
		t.Errorf("pruned %q", got)
	}
	if got := prune("-a", "--filter", "until=2h", "--filter", "label=keep=no"); !slices.Contains(got, "untagged: big:2") {
		t.Errorf("pruned %q", got)
	}
	if got := prune("-a", "--filter", "label!=keep=yes", "--filter", "until=2023-01-01"); slices.Contains(got, "untagged: "+image) {
		t.Errorf("pruned %q, which is newer", got)
	}
	if gone := before - onDisk(d); gone < 4*size || gone < reclaimed-reclaimed/20 || reclaimed < gone-gone/20 {
		t.Errorf("%d bytes have left the disk, prune said %d", gone, reclaimed)
	}
	if got := rows(d.MustDocker("images", "--format", "{{.Repository}}:{{.Tag}}")); !slices.Equal(got, []string{"big:1", image}) && !slices.Equal(got, []string{image, "big:1"}) {
		t.Errorf("left: %q", got)
	}
	prune("-a")
	if left := onDisk(d); left != 0 {
		t.Errorf("%d bytes are left of no image", left)
	}
}

// now is the daemon's time, as its events have it.
func now(d *harness.Daemon) string {
	d.T.Helper()
	return strings.TrimSpace(d.MustDocker("info", "--format", "{{.SystemTime}}"))
}

// A file system's archive becomes an image, from standard input or a URL.
func TestImport(t *testing.T) {
	t.Parallel()
	d := start(t)
	root := d.MustDocker("run", "--rm", image, "tar", "-c", "bin", "etc")
	id := strings.TrimSpace(d.DockerInput(root, "import", "-m", "by hand", "-c", `CMD ["cat", "/etc/os-release"]`, "-c", "ENV A=b", "-c", "LABEL x=y", "-", "made:1").Stdout)
	if got := inspect(d, "made:1", `{{.Id}} {{json .Config.Cmd}} {{.Config.Env}} {{.Config.Labels.x}} {{.Comment}} {{len .RootFS.Layers}}`); got != id+` ["cat","/etc/os-release"] [A=b] y by hand 1` {
		t.Errorf("imported %s: %s", id, got)
	}
	if out := d.MustDocker("run", "--rm", "made:1", "/bin/cat", "/etc/os-release"); !strings.Contains(out, "Busybox") {
		t.Errorf("printed %q", out)
	}
	if got := d.MustDocker("history", "--format", "{{.ID}} {{.Comment}} {{.Size}}", "made:1"); !regexp.MustCompile(`^[0-9a-f]{12} by hand [1-9][0-9.]+MB\n$`).MatchString(got) {
		t.Errorf("history %q", got)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/root.tar" {
			http.NotFound(w, r)
			return
		}
		tw := tar.NewWriter(w)
		tw.WriteHeader(&tar.Header{Name: "hello", Size: 5, Mode: 0o644, Typeflag: tar.TypeReg})
		tw.Write([]byte("hello"))
		tw.Close()
	}))
	defer srv.Close()
	if out := d.MustDocker("import", "--platform", "linux/s390x", srv.URL+"/root.tar", "made:2"); !strings.Contains(out, "Downloading from "+srv.URL) {
		t.Errorf("said %q", out)
	}
	if got := inspect(d, "made:2", "{{.Os}}/{{.Architecture}} {{.Comment}}"); got != "linux/s390x Imported from "+srv.URL+"/root.tar" {
		t.Errorf("imported %q", got)
	}
	refuses(d, "404", "import", srv.URL+"/none", "made:3")
	refuses(d, "rubbish is not a valid change command", "import", "-c", "RUBBISH x", srv.URL+"/root.tar", "made:3")
	if r := d.DockerInput("no archive", "import", "-", "made:3"); r.Code == 0 {
		t.Errorf("rubbish was imported: %v", r)
	}
	refuses(d, "No such image: made:3", "image", "inspect", "made:3")
}

// A pull tells how far each layer is, and what the registry says.
func TestPull(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	repo := addr + "/team/app"
	harness.Push(t, repo+":1", []string{"--format", "v2s2"}, busybox.Layer(busybox.File{Path: "/one", Body: "1"}))
	harness.Push(t, repo+":2", nil, busybox.Layer(busybox.File{Path: "/two", Body: "2"}), busybox.Label("who", "me"))
	out := d.MustDocker("pull", repo+":1")
	digest := regexp.MustCompile(`(?m)^Digest: (sha256:[0-9a-f]{64})$`).FindStringSubmatch(out)
	for _, want := range []string{
		`^1: Pulling from team/app\n`, `(?m)^([0-9a-f]{12}): Pulling fs layer\n`, `(?m)^[0-9a-f]{12}: Download complete$`, `(?m)^[0-9a-f]{12}: Pull complete$`,
		`\nStatus: Downloaded newer image for ` + repo + `:1\n` + repo + `:1\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if digest == nil {
		t.Fatalf("no digest in\n%s", out)
	}
	if out := d.MustDocker("pull", repo+":1"); !strings.Contains(out, "Status: Image is up to date for "+repo+":1") {
		t.Errorf("again: %s", out)
	}
	if out := d.MustDocker("pull", "-q", repo+":1"); out != repo+":1\n" {
		t.Errorf("quiet: %q", out)
	}
	if got := inspect(d, repo+"@"+digest[1], "{{.RepoTags}} {{.RepoDigests}}"); got != "["+repo+":1] ["+repo+"@"+digest[1]+"]" {
		t.Errorf("by its digest: %s", got)
	}
	d.MustDocker("rmi", repo+":1")
	d.MustDocker("pull", "-q", repo+"@"+digest[1])
	if got := d.MustDocker("images", "-a", "--digests", "--format", "{{.Tag}} {{.Digest}}", repo); got != "<none> "+digest[1]+"\n" {
		t.Errorf("pulled by digest: %q", got)
	}
	if got := rows(d.MustDocker("rmi", repo+"@"+digest[1])); len(got) != 2 || got[0] != "Untagged: "+repo+"@"+digest[1] {
		t.Errorf("removed by digest: %q", got)
	}
	if out := d.MustDocker("pull", "-a", repo); strings.Count(out, "Pulling from team/app") != 2 || !strings.Contains(out, "Status: Downloaded newer image for "+repo+"\n") {
		t.Errorf("all tags: %s", out)
	}
	if got := rows(d.MustDocker("images", "--format", "{{.Tag}}", repo)); len(got) != 2 {
		t.Errorf("pulled all tags: %q", got)
	}
	refuses(d, "manifest for "+repo+":9 not found: manifest unknown", "pull", repo+":9")
	refuses(d, "not found", "pull", "-a", addr+"/none")
	refuses(d, "no matching manifest for linux/s390x", "pull", "--platform", "linux/s390x", index(t, addr, "team/app", "all", "1"))
	locked := harness.Registry(t, "user", "secret")
	refuses(d, "pull access denied for "+locked+"/app, repository does not exist or may require 'docker login'", "pull", locked+"/app:1")
	if events := d.MustDocker("events", "--since", "1", "--until", now(d), "--filter", "event=pull", "--filter", "image="+repo+":2", "--format", "{{.Actor.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.who}}"); events != repo+":2 "+repo+" me\n" {
		t.Errorf("events %q", events)
	}
}

// index puts an index with one manifest, for the host, into a registry.
func index(t *testing.T, addr, repo, tag, of string) string {
	t.Helper()
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/v2/%s/manifests/%s", addr, repo, of), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	m := map[string]any{"mediaType": kind, "digest": resp.Header.Get("Docker-Content-Digest"), "size": resp.ContentLength, "platform": map[string]string{"os": "linux", "architecture": "amd64"}}
	const list = "application/vnd.docker.distribution.manifest.list.v2+json"
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": list, "manifests": []any{m}})
	if err != nil {
		t.Fatal(err)
	}
	put, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s/v2/%s/manifests/%s", addr, repo, tag), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	put.Header.Set("Content-Type", list)
	done, err := http.DefaultClient.Do(put)
	if err != nil {
		t.Fatal(err)
	}
	defer done.Body.Close()
	if done.StatusCode != http.StatusCreated {
		t.Fatalf("putting an index: %s", done.Status)
	}
	return addr + "/" + repo + ":" + tag
}

// Filters select images as docker's do, and each image's events tell of it.
func TestImageFiltersAndEvents(t *testing.T) {
	t.Parallel()
	d := start(t)
	mid := busybox.Epoch.AddDate(0, 6, 0)
	id := loadImage(d, "team/new:1", busybox.Created(mid), busybox.Label("l", "v"))
	d.MustDocker("tag", "team/new:1", "team/new:2")
	for filter, want := range map[string]string{
		"since=" + image: "team/new:1 team/new:2", "before=team/new:1": image, "label=l": "team/new:1 team/new:2", "label=l=w": "", "label!=l": image,
		"reference=*/new:2": "team/new:2", "reference=busybox": image, "reference=team/*:1": "team/new:1", "until=2024-03-01": image, "dangling=false": image + " team/new:1 team/new:2", "dangling=true": "",
	} {
		got := strings.Fields(d.MustDocker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", filter))
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s selects %q, want %q", filter, got, want)
		}
	}
	for filter, words := range map[string]string{"x=y": "invalid filter 'x'", "dangling=maybe": "invalid filter 'dangling=", "until=soon": "invalid filter 'until=soon'", "before=none": "No such image: none:latest"} {
		refuses(d, words, "images", "--filter", filter)
	}
	if tree := d.MustDocker("images", "--tree"); !strings.Contains(tree, "linux/") {
		t.Errorf("tree:\n%s", tree)
	}
	d.MustDocker("save", "-o", filepath.Join(d.Dir, "saved.tar"), "team/new:1")
	d.MustDocker("rmi", "team/new:1", "team/new:2")
	var got []string
	for _, l := range rows(d.MustDocker("events", "--since", "1", "--until", now(d), "--filter", "type=image", "--filter", "label=l=v", "--format", "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}")) {
		got = append(got, strings.ReplaceAll(l, id, "ID"))
	}
	if want := []string{"load ID ID", "tag ID team/new:2", "save ID ID", "untag ID ID", "untag ID ID", "delete ID ID"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}
