package docker_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

// What one daemon saves into a pipe, another loads from it; so does skopeo.
func TestSaveAndLoadThroughAPipe(t *testing.T) {
	t.Parallel()
	from, to := start(t), harness.Start(t)
	id := inspect(from, image, "{{.Id}}")
	from.MustDocker("tag", image, "team/tool:1")
	from.MustDocker("tag", image, "team/tool:2")
	other := loadImage(from, "other", busybox.Env("A=b"), busybox.Layer(busybox.File{Path: "/big", Body: strings.Repeat("x", 4<<20)}))
	unnamed := loadImage(from, "unnamed", busybox.Env("C=d"))

	pipe := func(load []string, save ...string) string {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		writer := from.DockerCommand(from.Dir, append([]string{"save"}, save...)...)
		reader := to.DockerCommand(to.Dir, append([]string{"load"}, load...)...)
		var out, errs bytes.Buffer
		writer.Stdout, writer.Stderr, reader.Stdin, reader.Stdout, reader.Stderr = w, &errs, r, &out, &errs
		err = errors.Join(reader.Start(), writer.Start(), w.Close(), r.Close())
		if err = errors.Join(err, writer.Wait(), reader.Wait()); err != nil {
			t.Fatalf("%v: %s%s", err, &out, &errs)
		}
		return out.String()
	}
	got := rows(pipe(nil, "team/tool", "other", unnamed))
	slices.Sort(got)
	if want := []string{"Loaded image ID: " + unnamed, "Loaded image: other:latest", "Loaded image: team/tool:1", "Loaded image: team/tool:2"}; !slices.Equal(got, want) {
		t.Errorf("load said %q, want %q", got, want)
	}
	for ref, want := range map[string]string{"team/tool:1": id, "team/tool:2": id, "other": other, unnamed: unnamed} {
		if got := inspect(to, ref, "{{.Id}}"); got != want {
			t.Errorf("%s is %s, want %s", ref, got, want)
		}
	}
	if out := to.MustDocker("run", "--rm", "other", "sh", "-c", "echo $A; wc -c </big"); out != "b\n4194304\n" {
		t.Errorf("the loaded image prints %q", out)
	}
	if got := pipe([]string{"-q"}, "other"); got != "Loaded image: other:latest\n" {
		t.Errorf("quiet: %q", got)
	}

	file := filepath.Join(from.Dir, "saved.tar")
	from.MustDocker("save", "-o", file, "team/tool:1", "other")
	for _, ref := range []string{"docker-archive:" + file + ":team/tool:1", "oci-archive:" + file + ":1", "oci-archive:" + file + ":latest"} {
		if out, err := exec.Command("skopeo", "inspect", ref).CombinedOutput(); err != nil {
			t.Errorf("skopeo inspect %s: %v: %s", ref, err, out)
		}
	}
	if out, err := exec.Command("xz", "-0", file).CombinedOutput(); err != nil {
		t.Fatalf("xz: %v: %s", err, out)
	}
	if out := to.MustDocker("load", "-i", file+".xz"); !strings.Contains(out, "Loaded image: team/tool:1\n") {
		t.Errorf("compressed: %q", out)
	}
	refuses(from, "No such image: none:latest", "save", "-o", file, image, "none")
	refuses(from, "does not match the specified platform (linux/s390x)", "save", "--platform", "linux/s390x", "-o", file, image)
	refuses(to, "requested platform (linux/s390x) was not found", "load", "--platform", "linux/s390x", "-i", file+".xz")
	if r := to.DockerInput(strings.Repeat("no archive ", 1000), "load"); r.Code == 0 || !strings.Contains(r.Stderr, "image archive") {
		t.Errorf("loading rubbish: %v", r)
	}
	to.MustDocker("image", "prune", "-af")
	if left := onDisk(to); left != 0 {
		t.Errorf("%d bytes are left of no image", left)
	}
}

// A daemon that is killed in the middle of a load, an import or a pull shows no
// part of an image afterwards, and what was there of it goes.
func TestKilledWhileImagesCome(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	const size = 8 << 20
	var body strings.Builder // does not compress
	for i := uint32(1); body.Len() < size; i = i*1664525 + 1013904223 {
		fmt.Fprintf(&body, "%08x", i)
	}
	var archive bytes.Buffer
	if err := busybox.Archive(&archive, "half:1", busybox.Layer(busybox.File{Path: "/big", Body: body.String()})); err != nil {
		t.Fatal(err)
	}
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/half:1", nil, busybox.Layer(busybox.File{Path: "/big", Body: body.String()}))
	halted := make(chan struct{}, 16)
	release := make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/blobs/") || r.Method != http.MethodGet {
			proxy.ServeHTTP(w, r)
			return
		}
		resp, err := http.Get("http://" + addr + r.URL.Path)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Length", fmt.Sprint(resp.ContentLength))
		if resp.ContentLength < size/4 { // pushed, a layer is compressed
			io.Copy(w, resp.Body)
			return
		}
		io.CopyN(w, resp.Body, resp.ContentLength/2)
		w.(http.Flusher).Flush()
		halted <- struct{}{}
		<-release
	}))
	defer registry.Close()
	defer close(release)

	for _, c := range []struct {
		name string
		args []string
		full func() harness.Result
	}{
		{"load", []string{"load"}, func() harness.Result { return d.DockerInput(archive.String(), "load") }},
		{"import", []string{"import", "-", "half:1"}, func() harness.Result { return d.DockerInput(archive.String(), "import", "-", "half:1") }},
		{"pull", []string{"pull", registry.Listener.Addr().String() + "/half:1"}, func() harness.Result {
			d.MustDocker("pull", addr+"/half:1")
			return d.Docker("tag", addr+"/half:1", "half:1")
		}},
	} {
		cmd := d.DockerCommand(d.Dir, c.args...)
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "pull" {
			select {
			case <-halted:
			case <-time.After(time.Minute):
				t.Fatalf("waited a minute for the pull to reach its layer: %s", d.Log())
			}
		} else if _, err := in.Write(archive.Bytes()[:archive.Len()-size/2]); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, c.name+" has brought some of the image", func() error {
			if got := onDisk(d); got < size/16 {
				return fmt.Errorf("%d bytes", got)
			}
			return nil
		})
		d.Kill9()
		in.Close()
		cmd.Wait() // it fails: its daemon is gone
		d.Launch()
		if out := d.MustDocker("images", "-aq"); out != "" {
			t.Errorf("%s: half an image is seen: %s", c.name, out)
		}
		if c.name != "pull" { // the next pull goes on
			harness.Eventually(t, "what "+c.name+" has left is gone", func() error {
				if left := onDisk(d); left > 0 {
					return fmt.Errorf("%d bytes", left)
				}
				return nil
			})
		}
		if r := c.full(); r.Code != 0 {
			t.Errorf("%s again: %v", c.name, r)
		}
		if got := inspect(d, "half:1", "{{.Os}}"); got != "linux" {
			t.Errorf("%s again: %s", c.name, got)
		}
		d.MustDocker("rmi", "-f", inspect(d, "half:1", "{{.Id}}"))
	}
}
