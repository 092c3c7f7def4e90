package docker_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// archived lists the entries of a tar archive, by name.
func archived(t *testing.T, archive string) (names []string, headers map[string]*tar.Header, contents map[string]string) {
	t.Helper()
	headers, contents = map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, headers, contents
		}
		check(t, err)
		b, err := io.ReadAll(r)
		check(t, err)
		names = append(names, h.Name)
		headers[h.Name], contents[h.Name] = h, string(b)
	}
}

func tarOf(t *testing.T, headers ...*tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.PAXRecords["test.content"]
		delete(h.PAXRecords, "test.content")
		h.Size = int64(len(content))
		check(t, w.WriteHeader(h))
		_, err := io.WriteString(w, content)
		check(t, err)
	}
	check(t, w.Close())
	return b.String()
}

// In every state a container's files are the same, its volumes included.
func TestCopyInAndOutOfEveryState(t *testing.T) {
	t.Parallel()
	d := start(t)
	local := t.TempDir()
	bound := filepath.Join(local, "bound")
	write(t, filepath.Join(bound, "b"), "of the host")
	write(t, filepath.Join(local, "in/sub/file"), "copied in")
	check(t, os.Symlink("sub/file", filepath.Join(local, "in/link")))
	states := map[string]func(name string){
		"created": func(string) {},
		"running": func(name string) { d.MustDocker("start", name) },
		"paused":  func(name string) { d.MustDocker("start", name); d.MustDocker("pause", name) },
		"stopped": func(name string) { d.MustDocker("start", name); d.MustDocker("kill", name) },
	}
	for state, reach := range states {
		t.Run(state, func(t *testing.T) {
			d.MustDocker("create", "--name", state, "-v", state+":/vol/data", "-v", bound+":/bound:ro", image, "sleep", "1000")
			reach(state)
			d.MustDocker("cp", filepath.Join(local, "in"), state+":/root")
			d.MustDocker("cp", filepath.Join(local, "in")+"/.", state+":/vol/data/")
			d.MustDocker("cp", filepath.Join(local, "in/sub/file"), state+":/tmp/renamed")
			out := filepath.Join(local, "out-"+state)
			d.MustDocker("cp", state+":/root/in", out)
			if got := read(t, filepath.Join(out, "sub/file")); got != "copied in" {
				t.Errorf("directory: %q", got)
			}
			d.MustDocker("cp", state+":/vol/data/sub/.", filepath.Join(local, "vol-"+state))
			if got := read(t, filepath.Join(local, "vol-"+state, "file")); got != "copied in" {
				t.Errorf("volume: %q", got)
			}
			d.MustDocker("cp", "-L", state+":/root/in/link", filepath.Join(local, "followed-"+state))
			if got := read(t, filepath.Join(local, "followed-"+state)); got != "copied in" {
				t.Errorf("link: %q", got)
			}
			_, _, contents := archived(t, d.MustDocker("cp", state+":/bound/b", "-"))
			if contents["b"] != "of the host" {
				t.Errorf("bind: %v", contents)
			}
			if r := d.FailDocker("cp", filepath.Join(local, "in/sub/file"), state+":/bound/b"); !strings.Contains(r.Stderr, "mounted volume is marked read-only") {
				t.Errorf("read-only bind: %v", r)
			}
			if r := d.FailDocker("cp", state+":/nowhere/file", local); !strings.Contains(r.Stderr, "Could not find the file /nowhere/file in container "+state) {
				t.Errorf("missing: %v", r)
			}
			if state == "running" {
				if got := d.MustDocker("exec", state, "cat", "/vol/data/sub/file", "/tmp/renamed"); got != "copied incopied in" {
					t.Errorf("the container sees %q", got)
				}
			}
		})
	}
	if read(t, filepath.Join(bound, "b")) != "of the host" {
		t.Error("a read-only bind was written")
	}
}

func TestCopySeesTmpfsAndNothingOfTheKernel(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "ct", "--tmpfs", "/fast", "--pid", "host", image, "sh", "-c", "echo quick > /fast/f; sleep 1000")
	d.MustDocker("exec", "ct", "sh", "-c", "until test -s /fast/f; do :; done; ln -s /proc/1/root /escape")
	_, _, contents := archived(t, d.MustDocker("cp", "ct:/fast/f", "-"))
	if contents["f"] != "quick\n" {
		t.Errorf("tmpfs: %v", contents)
	}
	names, _, _ := archived(t, d.MustDocker("cp", "ct:/", "-"))
	for _, dir := range []string{"/proc/", "/sys/", "/dev/"} {
		if !slices.Contains(names, dir) || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, dir) && n != dir }) {
			t.Errorf("of %s there is not the directory alone", dir)
		}
	}
	for _, path := range []string{"/proc/1/root/etc", "/escape/etc", "/proc/self/status"} {
		d.FailDocker("cp", "ct:"+path, "-")
	}
	outside := filepath.Join(t.TempDir(), "outside")
	check(t, os.Mkdir(outside, 0o755))
	d.DockerInput(tarOf(t, &tar.Header{Name: "evil", Mode: 0o644}), "cp", "-", "ct:/escape"+outside)
	d.DockerInput(tarOf(t, &tar.Header{Name: "escape" + outside + "/evil", Mode: 0o644}), "cp", "-", "ct:/")
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside: %v %v", left, err)
	}
}

func TestCopyKeepsOwnersLinksAndDevices(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("create", "--name", "ct", "--user", "1000:2000", image, "true")
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	in := tarOf(t,
		&tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o1750, Uid: 5, Gid: 6},
		&tar.Header{Name: "d/a\xff", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, PAXRecords: map[string]string{"test.content": "x", "SCHILY.xattr.security.capability": capability}},
		&tar.Header{Name: "d/b", Typeflag: tar.TypeReg, Mode: 0o600},
		&tar.Header{Name: "d/c", Typeflag: tar.TypeLink, Linkname: "d/b", Mode: 0o600},
		&tar.Header{Name: "d/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o600},
		&tar.Header{Name: "d/pipe", Typeflag: tar.TypeFifo, Mode: 0o622},
		&tar.Header{Name: "d/up", Typeflag: tar.TypeSymlink, Linkname: "../../../etc/passwd", Mode: 0o777},
	)
	if r := d.DockerInput(in, "cp", "-", "ct:/nowhere"); r.Code == 0 {
		t.Errorf("into a directory that is not there: %v", r)
	}
	if r := d.DockerInput(in, "cp", "-", "ct:/tmp"); r.Code != 0 {
		t.Fatal(r)
	}
	names, h, _ := archived(t, d.MustDocker("cp", "ct:/tmp/d", "-"))
	if want := []string{"d/", "d/a\xff", "d/b", "d/c", "d/null", "d/pipe", "d/up"}; !slices.Equal(names, want) {
		t.Fatalf("entries: %q", names)
	}
	if x := h["d/"]; x.Mode != 0o1750 || x.Uid != 5 || x.Gid != 6 {
		t.Errorf("directory: %+v", x)
	}
	if x := h["d/a\xff"]; x.Mode != 0o4755 || x.Uid != 7 || x.Gid != 8 || x.PAXRecords["SCHILY.xattr.security.capability"] != capability {
		t.Errorf("file: %+v", x)
	}
	if x := h["d/c"]; x.Typeflag != tar.TypeLink || x.Linkname != "d/b" {
		t.Errorf("hard link: %+v", x)
	}
	if x := h["d/null"]; x.Typeflag != tar.TypeChar || x.Devmajor != 1 || x.Devminor != 3 {
		t.Errorf("device: %+v", x)
	}
	if x := h["d/up"]; x.Linkname != "../../../etc/passwd" {
		t.Errorf("symbolic link: %+v", x)
	}
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "mine")
	d.MustDocker("cp", "-a", file, "ct:/f")
	_, h, _ = archived(t, d.MustDocker("cp", "ct:/f", "-"))
	if x := h["f"]; x.Uid != 1000 || x.Gid != 2000 {
		t.Errorf("-a gave it to %d:%d", x.Uid, x.Gid)
	}
}

func TestCopyRefusesWhatIsReadOnlyOrInTheWay(t *testing.T) {
	t.Parallel()
	d := start(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "x")
	write(t, filepath.Join(dir, "etc"), "no directory")
	d.MustDocker("run", "-d", "--name", "ro", "--read-only", "-v", "data:/data", "--tmpfs", "/fast", image, "sleep", "1000")
	if r := d.FailDocker("cp", filepath.Join(dir, "file"), "ro:/"); !strings.Contains(r.Stderr, "container rootfs is marked read-only") {
		t.Errorf("%v", r)
	}
	d.MustDocker("cp", filepath.Join(dir, "file"), "ro:/data/")
	d.MustDocker("cp", filepath.Join(dir, "file"), "ro:/fast/")
	if got := d.MustDocker("exec", "ro", "cat", "/data/file", "/fast/file"); got != "xx" {
		t.Errorf("copied %q", got)
	}
	if r := d.FailDocker("cp", filepath.Join(dir, "file"), "ro:/etc/hosts"); !strings.Contains(r.Stderr, "read-only") {
		t.Errorf("%v", r)
	}
	d.MustDocker("run", "-d", "--name", "up", "-v", filepath.Join(dir, "file")+":/one", image, "sleep", "1000")
	for _, place := range []string{"/etc/hosts", "/one"} {
		before := d.MustDocker("exec", "up", "cat", place, "/proc/mounts")
		if r := d.FailDocker("cp", filepath.Join(dir, "etc"), "up:"+place); !strings.Contains(r.Stderr, "device or resource busy") {
			t.Errorf("%s: %v", place, r)
		}
		if after := d.MustDocker("exec", "up", "cat", place, "/proc/mounts"); after != before {
			t.Errorf("%s is another one now", place)
		}
	}
	d.MustDocker("create", "--name", "ct", image, "true")
	if r := d.FailDocker("cp", dir+"/.", "ct:/"); !strings.Contains(r.Stderr, "cannot overwrite directory") {
		t.Errorf("%v", r)
	}
	if r := d.FailDocker("cp", filepath.Join(dir, "file"), "ct:/bin/sh/"); !strings.Contains(r.Stderr, "no such directory") {
		t.Errorf("%v", r)
	}
	if r := d.DockerInput("no archive at all, but long enough to be taken for one", "cp", "-", "ct:/tmp"); r.Code == 0 || !strings.Contains(r.Stderr, "tar") {
		t.Errorf("%v", r)
	}
	if r := d.FailDocker("cp", "nobody:/x", dir); !strings.Contains(r.Stderr, "No such container") {
		t.Errorf("%v", r)
	}
}

// Volumes are mounted for a copy alone, wherever they come from.
func TestCopyIntoVolumesOfStoppedContainers(t *testing.T) {
	t.Parallel()
	d := start(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "x")
	d.MustDocker("volume", "create", "bound", "--opt", "type=none", "--opt", "o=bind", "--opt", "device="+filepath.Dir(file))
	d.MustDocker("volume", "create", "whole")
	d.MustDocker("run", "--rm", "-v", "whole:/v", image, "mkdir", "/v/part")
	d.MustDocker("create", "--name", "ct", "-v", "bound:/a/b", "--mount", "type=volume,src=whole,dst=/part,volume-subpath=part", image, "cat", "/part/file", "/a/b/new")
	d.MustDocker("cp", file, "ct:/part/")
	d.MustDocker("cp", "ct:/a/b/file", filepath.Join(filepath.Dir(file), "new"))
	if got := d.MustDocker("start", "-a", "ct"); got != "xx" {
		t.Errorf("the container sees %q", got)
	}
	if got := d.MustDocker("diff", "ct"); got != "" {
		t.Errorf("copies went beside the volumes:\n%s", got)
	}
}

func TestCopyTellsInEvents(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("create", "--name", "ct", image, "true")
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "x")
	d.MustDocker("cp", file, "ct:/")
	d.MustDocker("cp", "ct:/f", file)
	d.MustDocker("export", "-o", file, "ct")
	got := strings.Fields(d.MustDocker("events", "--since", "1", "--until", time.Now().Format(time.RFC3339Nano), "--filter", "container=ct", "--format", "{{.Action}}"))
	if want := []string{"create", "extract-to-dir", "archive-path", "export"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// Nobody waits for a client that does not read, and it keeps nothing.
func TestCopyToAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "ct", "-v", "data:/data", image, "sleep", "1000")
	d.MustDocker("exec", "ct", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=64")
	d.MustDocker("exec", "ct", "cp", "/big", "/data/big")
	for _, args := range [][]string{{"cp", "ct:/big", "-"}, {"cp", "ct:/data/big", "-"}, {"export", "ct"}} {
		cmd := d.DockerCommand(d.Dir, args...)
		r, err := cmd.StdoutPipe()
		check(t, err)
		check(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGKILL); _ = cmd.Wait() })
		_, err = io.ReadFull(r, make([]byte, 4096))
		check(t, err)
	}
	// nor for one that does not write
	cmd := d.DockerCommand(d.Dir, "cp", "-", "ct:/tmp")
	w, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGKILL); _ = cmd.Wait() })
	_, err = io.WriteString(w, tarOf(t, &tar.Header{Name: "first", Mode: 0o600})[:512]+tarOf(t, &tar.Header{Name: "second", Mode: 0o600, PAXRecords: map[string]string{"test.content": "x"}})[:512])
	check(t, err)
	d.MustDocker("exec", "ct", "sh", "-c", "until test -e /tmp/first; do usleep 1000; done")
	d.MustDocker("restart", "-t", "0", "ct")
	d.MustDocker("rm", "-fv", "ct")
	d.MustDocker("volume", "rm", "data")
	d.Stop() // before the clients end
	d.Launch()
}
