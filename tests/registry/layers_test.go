package registry_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/harness"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layers come as they are, packed in one way or another or not at all, and are
// pushed as they came.
func TestFormsOfLayers(t *testing.T) {
	t.Parallel()
	d := start(t)
	h := newHoard()
	addr, to := serving(t, h), harness.Registry(t, "", "")
	content := layerOf(t, tar.Header{Name: "f", Typeflag: tar.TypeReg}, tar.Header{Name: "dir", Typeflag: tar.TypeDir})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		blob      []byte
		mediaType string
	}{
		"tar":  {content, ocispec.MediaTypeImageLayer},
		"gzip": {packed(t, content), ocispec.MediaTypeImageLayerGzip},
		"zstd": {z.EncodeAll(content, nil), ocispec.MediaTypeImageLayerZstd},
		"old":  {content, images.MediaTypeDockerSchema2Layer},
		"liar": {packed(t, content), images.MediaTypeDockerSchema2Layer}, // some registries had such
	} {
		h.image(t, name, nil, [][]byte{content}, func(m *ocispec.Manifest) { m.Layers[0] = h.blob(c.blob, c.mediaType) })
		ref := addr + "/x:" + name
		d.MustDocker("pull", "-q", ref)
		made := strings.TrimSpace(d.MustDocker("create", ref, "x"))
		if out := d.MustDocker("cp", made+":/f", "-"); !strings.Contains(out, "x") {
			t.Errorf("%s: the file is %q", name, out)
		}
		d.MustDocker("rm", made)
		d.MustDocker("tag", ref, to+"/x:"+name)
		d.MustDocker("push", "-q", to+"/x:"+name)
		if got, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+to+"/x:"+name).Output(); err != nil || !bytes.Equal(got, h.manifests[name]) {
			t.Errorf("%s was pushed as %s, %v", name, got, err)
		}
		d.MustDocker("rmi", ref, to+"/x:"+name)
		d.MustDocker("pull", "-q", to+"/x:"+name)
		d.MustDocker("rmi", to+"/x:"+name)
	}
}

// A small layer that unpacks to more than there is room for fails its pull
// alone: what it took is given back.
func TestLayerThatFillsTheDisk(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	d.SmallDisk("30m")
	d.Busybox(image)
	var b bytes.Buffer
	pack := gzip.NewWriter(&b)
	archive := tar.NewWriter(pack)
	const huge = 256 << 20
	archive.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Size: huge})
	for range huge >> 20 {
		archive.Write(make([]byte, 1<<20))
	}
	archive.Close()
	pack.Close()
	h := newHoard()
	addr := serving(t, h)
	for name, blob := range map[string]ocispec.Descriptor{
		"bomb": h.blob(b.Bytes(), ocispec.MediaTypeImageLayerGzip),
		"long": h.blob([]byte(noise(40<<20)), ocispec.MediaTypeImageLayer),
	} {
		h.image(t, name, nil, [][]byte{{}}, func(m *ocispec.Manifest) { m.Layers[0] = blob })
		has(t, d.FailDocker("pull", addr+"/x:"+name).Stderr, addr+"/x:"+name, blob.Digest.String(), "no space left on device")
		if got := d.MustDocker("images", "-aq", addr+"/x"); got != "" {
			t.Errorf("%s: half an image is visible: %s", name, got)
		}
		if out := d.MustDocker("run", "--rm", image, "sh", "-c", "head -c 5000000 /dev/zero > /new && echo room"); out != "room\n" {
			t.Errorf("%s: what it took is not given back: %q", name, out)
		}
		var left syscall.Statfs_t
		if err := syscall.Statfs(d.Data(), &left); err != nil || left.Bavail*uint64(left.Bsize) < 10<<20 {
			t.Errorf("%s: %d bytes are left, %v", name, left.Bavail*uint64(left.Bsize), err)
		}
	}
	d.MustDocker("rmi", image)
}
