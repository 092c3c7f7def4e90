package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pulls succeed while others remove the same image, prune, and move its tag, and
// what they name is whole.
func TestPullsBesideRemovals(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	ref := addr + "/app:moving"
	var ids, manifests []string
	for _, name := range []string{"a", "b"} {
		one := addr + "/app:" + name
		harness.Push(t, one, nil, busybox.Layer(busybox.File{Path: "/same", Body: noise(3000)}), busybox.Layer(busybox.File{Path: "/name", Body: name}))
		manifests = append(manifests, string(raw(t, one)))
		d.MustDocker("pull", "-q", one)
		ids = append(ids, idOf(d, one))
		d.MustDocker("rmi", one)
	}
	move := func(n int) {
		req, err := http.NewRequest(http.MethodPut, "http://"+addr+"/v2/app/manifests/moving", bytes.NewBufferString(manifests[n%2]))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", ocispec.MediaTypeImageManifest)
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Errorf("moving the tag: %v, %v", resp, err)
			return
		}
		resp.Body.Close()
	}
	move(0)
	var pulls, others sync.WaitGroup
	over := make(chan struct{})
	until := func(f func(n int)) {
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
					f(n)
				}
			}
		})
	}
	until(move)
	until(func(int) { d.Docker("rmi", ref) })
	until(func(int) { d.MustDocker("image", "prune", "-af") })
	for range 3 {
		pulls.Go(func() {
			for range 3 {
				r := d.Docker("pull", "-q", ref)
				// the registry itself reads a tag while it writes it, at times
				if r.Code != 0 && !strings.Contains(r.Stderr, "answers 500 Internal Server Error") {
					t.Error(r)
				}
			}
		})
	}
	pulls.Wait()
	close(over)
	others.Wait()
	d.MustDocker("pull", "-q", ref)
	if id := idOf(d, ref); id != ids[0] && id != ids[1] {
		t.Errorf("pulled was %s, there are %q", id, ids)
	}
	if out := d.MustDocker("run", "--rm", ref, "cat", "/name"); out != "a" && out != "b" {
		t.Errorf("it is called %q", out)
	}
	d.MustDocker("image", "prune", "-af")
	if left, _ := filepath.Glob(filepath.Join(d.Data(), "containerd/io.containerd.content.v1.content/blobs/sha256/*")); len(left) > 0 {
		t.Errorf("%d blobs are left", len(left))
	}
}

// A blob whose file somebody has removed is fetched by the next pull; a push
// says that it is not here.
func TestBlobThatIsGone(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr, other := harness.Registry(t, "", ""), harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", nil, layered())
	d.MustDocker("pull", "-q", addr+"/app:1")
	d.MustDocker("tag", addr+"/app:1", other+"/app:1")
	var gone string
	blobs := filepath.Join(d.Data(), "containerd/io.containerd.content.v1.content/blobs/sha256")
	harness.Files(t, blobs, func(path string, info os.FileInfo) {
		if info.Size() > size/2 {
			gone = path
		}
	})
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	has(t, d.FailDocker("push", other+"/app:1").Stderr, other+"/app:1", "sha256:"+filepath.Base(gone), "not here: pull or build it again")
	d.MustDocker("pull", "-q", addr+"/app:1")
	d.MustDocker("push", "-q", other+"/app:1")
	if out := d.MustDocker("run", "--rm", other+"/app:1", "wc", "-c", "/big"); !strings.HasPrefix(out, fmt.Sprint(size)) {
		t.Errorf("the layer has %s", out)
	}
}
