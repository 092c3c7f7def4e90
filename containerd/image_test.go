package containerd_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"

	"gantry/containerd"
	"gantry/tests/busybox"
)

// every option of an image that must survive
func described() []busybox.Option {
	return []busybox.Option{
		busybox.Cmd("sleep", "9"), busybox.Entrypoint("/bin/sh"), busybox.Env("A=b"), busybox.User("alice"), busybox.Volumes("/data"), busybox.Expose("80/tcp"), busybox.Label("l", "v"),
		busybox.Health(busybox.Healthcheck{Test: []string{"CMD", "true"}, Retries: 3}),
		busybox.Configure(func(c *busybox.Config) {
			c.Shell = []string{"/bin/ash"}
			c.OnBuild = []string{"RUN x"}
			c.StopSignal = "SIGINT"
		}),
		busybox.Layer(busybox.File{Path: "/extra", Body: "more"}),
	}
}

func checkDescribed(t *testing.T, img *containerd.Image) {
	t.Helper()
	want, err := busybox.ID(described()...)
	if err != nil {
		t.Fatal(err)
	}
	c := img.Config
	if img.ID != want || len(img.DiffIDs) != 2 || img.ChainID == "" || img.Size < 1e6 || !img.Created.Equal(busybox.Epoch) || img.Pulled.IsZero() || img.OS != "linux" || len(img.History) != 2 {
		t.Errorf("image %+v", img)
	}
	if !slices.Equal(c.Cmd, []string{"sleep", "9"}) || c.User != "alice" || c.Labels["l"] != "v" || c.Healthcheck == nil || c.Healthcheck.Retries != 3 ||
		!slices.Equal(c.Shell, []string{"/bin/ash"}) || !slices.Equal(c.OnBuild, []string{"RUN x"}) || c.StopSignal != "SIGINT" {
		t.Errorf("configuration %+v", c)
	}
}

// Docker's and OCI's archives, compressed or not, give the same image.
func TestLoadFormats(t *testing.T) {
	var oci, docker bytes.Buffer
	if err := busybox.Archive(&oci, "example.com/a/b:1", described()...); err != nil {
		t.Fatal(err)
	}
	if err := busybox.DockerArchive(&docker, "example.com/a/b:1", described()...); err != nil {
		t.Fatal(err)
	}
	gz := func(b []byte) io.Reader {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Write(b)
		w.Close()
		return &out
	}
	zst := func(b []byte) io.Reader {
		var out bytes.Buffer
		w, _ := zstd.NewWriter(&out)
		w.Write(b)
		w.Close()
		return &out
	}
	for name, archive := range map[string]io.Reader{
		"oci": bytes.NewReader(oci.Bytes()), "docker": bytes.NewReader(docker.Bytes()), "oci.gz": gz(oci.Bytes()), "docker.zst": zst(docker.Bytes()),
		"oci.xz": command(t, oci.Bytes(), "xz", "-0"), "docker.bz2": command(t, docker.Bytes(), "bzip2", "-1"),
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			progress := map[string]bool{}
			loaded, err := h.Load(h.ctx, archive, containerd.LoadOptions{Progress: func(p containerd.Progress) { progress[p.Status] = true }})
			h.must(err)
			if len(loaded) != 1 || loaded[0].Name != "example.com/a/b:1" {
				t.Fatalf("loaded %+v", loaded)
			}
			if !progress["Extracting"] || !progress["Pull complete"] {
				t.Errorf("progress %v", progress)
			}
			img, err := h.Image(h.ctx, "example.com/a/b:1")
			h.must(err)
			checkDescribed(t, img)
			if loaded[0].ID != img.ID {
				t.Errorf("loaded %s, image %s", loaded[0].ID, img.ID)
			}
			h.create("x", "", "example.com/a/b:1", "true")
			if got := h.read("x", "extra"); got != "more" {
				t.Errorf("the second layer holds %q", got)
			}
		})
	}
}

// command is what a filter makes of b.
func command(t *testing.T, b []byte, args ...string) io.Reader {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(out)
}

func TestLoadRubbish(t *testing.T) {
	h := open(t)
	for name, content := range map[string]string{"empty": "", "text": strings.Repeat("no archive ", 1000)} {
		if _, err := h.Load(h.ctx, strings.NewReader(content), containerd.LoadOptions{}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who sends an archive slowly holds up nobody else's, though its files have the
// same names.
func TestLoadTogether(t *testing.T) {
	h := open(t)
	var slow, quick bytes.Buffer
	h.must(busybox.DockerArchive(&slow, "slow", busybox.Layer(busybox.File{Path: "/x", Body: "slow"})))
	h.must(busybox.DockerArchive(&quick, "quick", busybox.Layer(busybox.File{Path: "/x", Body: "quick"})))
	r, w := io.Pipe()
	done := make(chan error, 2)
	go func() {
		_, err := h.Load(h.ctx, r, containerd.LoadOptions{})
		r.CloseWithError(err)
		done <- err
	}()
	_, err := w.Write(slow.Next(slow.Len() / 2))
	h.must(err)
	go func() {
		_, err := h.Load(h.ctx, &quick, containerd.LoadOptions{})
		done <- err
	}()
	select {
	case err := <-done:
		h.must(err)
	case <-time.After(bound):
		w.CloseWithError(io.ErrUnexpectedEOF)
		t.Fatal("the second archive is not loaded before the first has come")
	}
	_, err = slow.WriteTo(w)
	h.must(err)
	w.Close()
	h.must(<-done)
	for _, name := range []string{"slow", "quick"} {
		h.create(name, "", name, "true")
		if got := h.read(name, "x"); got != name {
			t.Errorf("image %q holds %q", name, got)
		}
	}
}

// What is read into memory has a bound, whatever an archive says.
func TestLoadRefusesHugeDocuments(t *testing.T) {
	h := open(t)
	huge := "{}" + strings.Repeat(" ", 21<<20)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range [][2]string{{"manifest.json", `[{"Config":"c.json","RepoTags":["huge:1"],"Layers":[]}]`}, {"c.json", huge}} {
		h.must(w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}))
		_, err := w.Write([]byte(f[1]))
		h.must(err)
	}
	h.must(w.Close())
	if _, err := h.Load(h.ctx, &b, containerd.LoadOptions{}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("loading it: %v", err)
	}
}

// Images are found as Docker finds them.
func TestImageLookup(t *testing.T) {
	h := open(t)
	a := h.load("busybox")
	b := h.load("example.com/other:2", busybox.Env("X=y"))
	hex := strings.TrimPrefix(a.ID, "sha256:")
	for _, ref := range []string{
		"busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox:latest", a.ID, hex, hex[:12], "sha256:" + hex[:12],
		"busybox@" + a.Target, a.Target,
	} {
		img, err := h.Image(h.ctx, ref)
		if err != nil || img.ID != a.ID {
			t.Errorf("%q: %v, %v", ref, img, err)
		}
	}
	for _, ref := range []string{"busybox:2", "other", "sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 12), "busybox@" + b.Target} {
		if img, err := h.Image(h.ctx, ref); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), ref) {
			t.Errorf("%q: %v, %v", ref, img, err)
		}
	}
	if got := a.Names; !slices.Equal(got, []string{"docker.io/library/busybox:latest"}) {
		t.Errorf("names %q", got)
	}
	if got := a.Digests; !slices.Equal(got, []string{"docker.io/library/busybox@" + a.Target}) {
		t.Errorf("digests %q", got)
	}
	all, err := h.Images(h.ctx)
	h.must(err)
	if len(all) != 2 {
		t.Errorf("%d images", len(all))
	}
}

func TestTagAndRemove(t *testing.T) {
	h := open(t)
	img := h.load("busybox", busybox.Layer(busybox.File{Path: "/big", Body: noise(1 << 20)}))
	full := usage(t, h.cfg.Root)
	h.must(h.Tag(h.ctx, "busybox", "example.com/x:1"))
	got, err := h.Image(h.ctx, "example.com/x:1")
	h.must(err)
	if got.ID != img.ID || !slices.Equal(got.Names, []string{"docker.io/library/busybox:latest", "example.com/x:1"}) {
		t.Errorf("tagged %+v", got)
	}
	gone, err := h.Remove(h.ctx, containerd.Removal{ID: img.ID, Names: []string{"docker.io/library/busybox:latest"}})
	h.must(err)
	if len(gone) != 0 {
		t.Errorf("removed %q", gone)
	}
	if _, err := h.Image(h.ctx, "busybox"); !errdefs.IsNotFound(err) {
		t.Errorf("a removed name: %v", err)
	}
	all := containerd.Removal{ID: img.ID, Names: []string{"example.com/x:1", "example.com/y:1"}, Keep: true}
	h.must(h.Tag(h.ctx, img.ID, "example.com/y:1"))
	if gone, err = h.Remove(h.ctx, all); err != nil || len(gone) != 0 {
		t.Errorf("removed %q, %v", gone, err)
	}
	got, err = h.Image(h.ctx, img.ID)
	h.must(err)
	if len(got.Names) != 0 {
		t.Errorf("kept without a name: %+v", got)
	}
	store, err := h.StoreSize(h.ctx)
	h.must(err)
	if disk := usage(t, h.cfg.Root); store < 1<<20 || store > disk+disk/10 {
		t.Errorf("the store has %d bytes, the disk %d", store, disk)
	}
	all.Keep = false
	if gone, err = h.Remove(h.ctx, all); err != nil || !slices.Equal(gone, []string{img.ID}) {
		t.Errorf("removed %q, %v", gone, err)
	}
	keys, err := h.Snapshots(h.ctx)
	h.must(err)
	if len(keys) > 0 {
		t.Errorf("snapshots %q", keys)
	}
	if left := usage(t, h.cfg.Root); left > full-2<<20 {
		t.Errorf("%d bytes on disk, with the image %d", left, full)
	}
	if gone, err = h.Remove(h.ctx, all); err != nil || len(gone) != 0 {
		t.Errorf("removing it again: %q, %v", gone, err)
	}
	if store, err = h.StoreSize(h.ctx); err != nil || store != 0 {
		t.Errorf("the store has %d bytes, %v", store, err)
	}
}

// A name that moves leaves its old image without one, for its containers.
func TestNameMoves(t *testing.T) {
	h := open(t)
	old := h.load("busybox")
	h.create("x", "", "busybox", "true")
	now := h.load("busybox", busybox.Env("NEW=1"))
	if now.ID == old.ID {
		t.Fatal("the second image is the first")
	}
	kept, err := h.Image(h.ctx, old.ID)
	h.must(err)
	if len(kept.Names) != 0 {
		t.Errorf("the old image is named %q", kept.Names)
	}
	id, err := h.Commit(h.ctx, containerd.CommitOptions{ContainerID: "x", Image: old.ID, Reference: "made"})
	h.must(err)
	h.load("busybox") // it gets its name back
	again, err := h.Image(h.ctx, "busybox")
	h.must(err)
	if again.ID != old.ID {
		t.Errorf("busybox is %s, want %s", again.ID, old.ID)
	}
	if gone, err := h.Remove(h.ctx, containerd.Removal{ID: now.ID}); err != nil || len(gone) != 1 {
		t.Errorf("removed %q, %v", gone, err)
	}
	all, err := h.Images(h.ctx)
	h.must(err)
	if len(all) != 2 {
		t.Errorf("%d images", len(all))
	}
	for _, img := range all {
		if img.ID != old.ID && img.ID != id || len(img.Names) != 1 {
			t.Errorf("image %s named %q", img.ID, img.Names)
		}
	}
}

// saved writes what names mean into a file.
func (h *host) saved(names ...string) string {
	h.t.Helper()
	var list []containerd.Saved
	for _, n := range names {
		found, err := h.FindSaved(h.ctx, n)
		h.must(err)
		list = append(list, found...)
	}
	file := filepath.Join(h.t.TempDir(), "a.tar")
	f, err := os.Create(file)
	h.must(err)
	h.must(h.Save(h.ctx, f, list))
	h.must(f.Close())
	return file
}

// What Save writes, Load and skopeo read.
func TestSave(t *testing.T) {
	h := open(t)
	img := h.load("example.com/a:1", described()...)
	file := h.saved("example.com/a:1")
	for _, format := range []string{"docker-archive:", "oci-archive:"} {
		out, err := exec.Command("skopeo", "inspect", "--raw", "--config", format+file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "ONBUILD") && !strings.Contains(string(out), "OnBuild") {
			t.Errorf("%s %v: %s", format, err, out)
		}
	}
	_, err := h.Remove(h.ctx, containerd.Removal{ID: img.ID, Names: img.Names})
	h.must(err)
	f, err := os.Open(file)
	h.must(err)
	defer f.Close()
	loaded, err := h.Load(h.ctx, f, containerd.LoadOptions{})
	h.must(err)
	if len(loaded) != 1 || loaded[0].Name != "example.com/a:1" || loaded[0].ID != img.ID {
		t.Errorf("loaded %+v", loaded)
	}
	if _, err := h.FindSaved(h.ctx, "nothing"); !errdefs.IsNotFound(err) {
		t.Errorf("saving nothing: %v", err)
	}
}

// Of several names, in one archive, each finds its image.
func TestSaveSeveral(t *testing.T) {
	h := open(t)
	a, b := h.load("example.com/a:1"), h.load("b", busybox.Env("B=1"))
	h.must(h.Tag(h.ctx, a.ID, "example.com/a:2"))
	c := h.load("example.com/c:1", busybox.Env("C=1"))
	file := h.saved("example.com/a", "b", c.ID)
	for ref, want := range map[string]string{
		"docker-archive:" + file + ":example.com/a:1": a.ID, "docker-archive:" + file + ":example.com/a:2": a.ID, "docker-archive:" + file + ":b:latest": b.ID,
		"oci-archive:" + file + ":1": a.ID, "oci-archive:" + file + ":2": a.ID, "oci-archive:" + file + ":latest": b.ID,
	} {
		out, err := exec.Command("skopeo", "inspect", "--raw", "--config", ref).CombinedOutput()
		if got := digest.FromBytes(out).String(); err != nil || got != want {
			t.Errorf("%s is %s, want %s: %v: %s", ref, got, want, err, out)
		}
	}
	for _, img := range []*containerd.Image{a, b, c} {
		_, err := h.Remove(h.ctx, containerd.Removal{ID: img.ID, Names: append(img.Names, "example.com/a:2")})
		h.must(err)
	}
	f, err := os.Open(file)
	h.must(err)
	defer f.Close()
	_, err = h.Load(h.ctx, f, containerd.LoadOptions{})
	h.must(err)
	for ref, want := range map[string]string{"example.com/a:1": a.ID, "example.com/a:2": a.ID, "b": b.ID, c.ID: c.ID} {
		if img, err := h.Image(h.ctx, ref); err != nil || img.ID != want || ref == c.ID && len(img.Names) > 0 {
			t.Errorf("%s: %+v, %v", ref, img, err)
		}
	}
}

// An imported archive, however compressed, is an image of one layer.
func TestImport(t *testing.T) {
	h := open(t)
	dir := t.TempDir()
	h.must(os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600))
	var config imagespec.DockerOCIImageConfig
	config.Shell = []string{"/sh"}
	for _, how := range []string{"--sparse", "--gzip", "--bzip2", "--xz", "--zstd"} {
		b, err := exec.Command("tar", "-C", dir, how, "-cf", "-", "file").Output()
		h.must(err)
		id, err := h.Import(h.ctx, bytes.NewReader(b), containerd.ImportOptions{Reference: "made" + how, Comment: "why", Config: config})
		if err != nil {
			t.Errorf("%s: %v", how, err)
			continue
		}
		img, err := h.Image(h.ctx, "made"+how)
		h.must(err)
		if img.ID != id || len(img.DiffIDs) != 1 || len(img.History) != 1 || img.History[0].Comment != "why" || img.OS != "linux" || img.Architecture == "" || img.Config.Shell[0] != "/sh" {
			t.Errorf("%s: imported %+v", how, img)
		}
		h.create("x"+how[2:], "", "made"+how, "true")
		if got := h.read("x"+how[2:], "file"); got != "content" {
			t.Errorf("%s: the file holds %q", how, got)
		}
	}
	if id, err := h.Import(h.ctx, strings.NewReader(strings.Repeat("no archive ", 1000)), containerd.ImportOptions{Reference: "rubbish"}); err == nil {
		t.Errorf("rubbish became image %s", id)
	}
	if _, err := h.Image(h.ctx, "rubbish"); !errdefs.IsNotFound(err) {
		t.Errorf("after importing rubbish: %v", err)
	}
}

// A committed image has what the container changed, also what it removed.
func TestCommit(t *testing.T) {
	h := open(t)
	for name, docker := range map[string]bool{"from-oci": false, "from-docker": true} {
		t.Run(name, func(t *testing.T) {
			write := busybox.Archive
			if docker {
				write = busybox.DockerArchive
			}
			var b bytes.Buffer
			h.must(write(&b, name, described()...))
			_, err := h.Load(h.ctx, &b, containerd.LoadOptions{})
			h.must(err)
			base, err := h.Image(h.ctx, name)
			h.must(err)
			h.create(name, "", name, "sh", "-c", "echo changed > /etc/new; rm /extra; ln -s a /etc/link; sleep 1000")
			h.start(name)
			h.until("the container to have changed its files", func() bool {
				var done bool
				h.must(h.MountRoot(h.ctx, name, func(root string) error {
					_, err := os.Lstat(filepath.Join(root, "etc/link"))
					done = err == nil
					return nil
				}))
				return done
			})
			config := base.Config
			config.Cmd = []string{"true"}
			id, err := h.Commit(h.ctx, containerd.CommitOptions{
				ContainerID: name, Image: base.ID, Reference: name + ":committed", Author: "me", Comment: "why", CreatedBy: "sh", Config: (*imagespec.DockerOCIImageConfig)(&config),
			})
			h.must(err)
			h.kill(name)
			h.remove(name)
			img, err := h.Image(h.ctx, name+":committed")
			h.must(err)
			last := img.History[len(img.History)-1]
			if img.ID != id || len(img.DiffIDs) != len(base.DiffIDs)+1 || len(img.History) != len(base.History)+1 || last.Comment != "why" || last.Author != "me" || last.CreatedBy != "sh" ||
				img.Author != "me" || !slices.Equal(img.Config.Cmd, []string{"true"}) || img.Config.User != "alice" || img.Config.Healthcheck == nil || img.Size <= base.Size || img.Architecture != base.Architecture {
				t.Errorf("committed %+v", img)
			}
			h.create("new", "", name+":committed", "cat", "/etc/new")
			if got := h.read("new", "etc/new"); got != "changed\n" {
				t.Errorf("the new image holds %q", got)
			}
			h.must(h.MountRoot(h.ctx, "new", func(root string) error {
				if _, err := os.Lstat(filepath.Join(root, "extra")); !os.IsNotExist(err) {
					t.Errorf("the removed file: %v", err)
				}
				return nil
			}))
			h.must(h.DeleteContainer(h.ctx, "new"))
		})
	}
}

func TestCommitErrors(t *testing.T) {
	h := open(t)
	h.load("busybox")
	h.load("other", busybox.Layer(busybox.File{Path: "/x", Body: "x"}))
	h.create("x", "", "busybox", "true")
	for _, c := range []struct {
		o    containerd.CommitOptions
		want func(error) bool
	}{
		{containerd.CommitOptions{ContainerID: "none", Image: "busybox"}, errdefs.IsNotFound},
		{containerd.CommitOptions{ContainerID: "x", Image: "nothing"}, errdefs.IsNotFound},
		{containerd.CommitOptions{ContainerID: "x", Image: "other"}, errdefs.IsInvalidArgument},
		{containerd.CommitOptions{ContainerID: "x", Image: "busybox", Reference: "No Name"}, errdefs.IsInvalidArgument},
	} {
		if _, err := h.Commit(h.ctx, c.o); !c.want(err) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

func noise(n int) string {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// usage is how many bytes the files below a directory take, databases aside.
func usage(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && !strings.HasSuffix(path, ".db") {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}
