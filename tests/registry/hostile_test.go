package registry_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/busybox"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hoard is a registry of what tests put into it, true or not. Manifests are by
// name or digest.
type hoard struct{ blobs, manifests map[string][]byte }

func newHoard() *hoard { return &hoard{map[string][]byte{}, map[string][]byte{}} }

func (h *hoard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i := strings.LastIndex(r.URL.Path, "/")
	name := r.URL.Path[i+1:]
	body, ok := h.manifests[name]
	if strings.Contains(r.URL.Path, "/blobs/") {
		body, ok = h.blobs[name]
	} else {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", digest.FromBytes(body).String())
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

func (h *hoard) blob(body []byte, mediaType string) ocispec.Descriptor {
	d := digest.FromBytes(body)
	h.blobs[d.String()] = body
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(body))}
}

// image puts an image of layers, tars, under a tag. change may spoil it.
func (h *hoard) image(t *testing.T, tag string, config *busybox.Config, layers [][]byte, change func(*ocispec.Manifest)) {
	t.Helper()
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	var diffs []string
	for _, l := range layers {
		diffs = append(diffs, digest.FromBytes(l).String())
		m.Layers = append(m.Layers, h.blob(packed(t, l), ocispec.MediaTypeImageLayerGzip))
	}
	if config == nil {
		config = &busybox.Config{}
	}
	c, err := json.Marshal(map[string]any{"architecture": "amd64", "os": "linux", "config": config, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
	if err != nil {
		t.Fatal(err)
	}
	m.Config = h.blob(c, ocispec.MediaTypeImageConfig)
	if change != nil {
		change(&m)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	h.manifests[tag], h.manifests[digest.FromBytes(b).String()] = b, b
}

func packed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	z.Close()
	return out.Bytes()
}

// layerOf is a tar of headers as they are; regular files hold "x".
func layerOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = 1
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			w.Write([]byte("x"))
		}
	}
	w.Close()
	return b.Bytes()
}

// Layers of images cannot write or link outside their file systems, whatever
// is in them.
func TestHostileLayers(t *testing.T) {
	t.Parallel()
	d := start(t)
	h := newHoard()
	addr := serving(t, h)
	target := filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Dir(target)
	up := strings.Repeat("../", 20)
	reg := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink} }
	for name, layers := range map[string][][]byte{
		"dots":          {layerOf(t, reg(up+outside+"/new"))},
		"through-link":  {layerOf(t, link("out", outside), reg("out/new"))},
		"lower-link":    {layerOf(t, link("out", outside)), layerOf(t, reg("out/new"))},
		"loop":          {layerOf(t, link("a", "b"), link("b", "a"), reg("a/new"))},
		"hard":          {layerOf(t, hard("stolen", target))},
		"hard-chain":    {layerOf(t, link("out", outside), hard("stolen", "out/target"))},
		"whiteout-link": {layerOf(t, link("out", outside)), layerOf(t, reg("out/.wh.target"))},
	} {
		h.image(t, name, nil, layers, nil)
		r := d.Docker("pull", addr+"/x:"+name)
		if got, err := os.ReadFile(target); err != nil || string(got) != "mine" {
			t.Errorf("%s: changed outside: %q %v", name, got, err)
		}
		if entries, _ := os.ReadDir(outside); len(entries) != 1 {
			t.Errorf("%s: wrote outside: %v", name, entries)
		}
		if r.Code != 0 {
			if got := d.MustDocker("images", "-q", addr+"/x:"+name); got != "" {
				t.Errorf("%s: half an image is visible: %s", name, got)
			}
		}
	}
	d.MustDocker("image", "prune", "-af")
}

// What registries say of their images is not believed, neither by pulls nor by
// builds, and ends no daemon.
func TestHostileManifests(t *testing.T) {
	t.Parallel()
	d := start(t, `"max-download-attempts": 1`)
	h := newHoard()
	addr := serving(t, h)
	layers := [][]byte{layerOf(t, tar.Header{Name: "f", Typeflag: tar.TypeReg})}
	for name, c := range map[string]struct {
		change func(*ocispec.Manifest)
		want   string
	}{
		"negative":     {func(m *ocispec.Manifest) { m.Layers[0].Size = -1 }, "size of -1"},
		"config":       {func(m *ocispec.Manifest) { m.Config.Size = -5 }, "size of -5"},
		"long":         {func(m *ocispec.Manifest) { m.Layers[0].Size++ }, "short read"},
		"huge":         {func(m *ocispec.Manifest) { m.Layers[0].Size = 1 << 60 }, "short read"},
		"large-config": {func(m *ocispec.Manifest) { m.Config.Size = 1 << 40 }, "size of 1099511627776"},
		"other":        {func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.FromString("other") }, digest.FromString("other").String()},
		"no-digest":    {func(m *ocispec.Manifest) { m.Layers[0].Digest = "" }, `digest ""`},
		"no-config":    {func(m *ocispec.Manifest) { m.Config.Digest = "" }, `digest ""`},
		"path":         {func(m *ocispec.Manifest) { m.Layers[0].Digest = "sha256:../../../etc/passwd" }, "checksum"},
		"many":         {func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }, "number of layers"},
		"no-json": {func(m *ocispec.Manifest) {
			m.Config = h.blob([]byte("nonsense"), ocispec.MediaTypeImageConfig)
		}, "invalid character"},
		"null": {func(m *ocispec.Manifest) { m.Config = h.blob([]byte("null"), ocispec.MediaTypeImageConfig) }, "number of layers"},
	} {
		h.image(t, name, nil, layers, c.change)
		if r := d.FailDocker("pull", "-q", addr+"/x:"+name); !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s: no %q in %v", name, c.want, r)
		}
		if !strings.HasPrefix(name, "no-") { // the others BuildKit asks for again and again
			continue
		}
		if r := d.DockerInput("FROM "+addr+"/x:"+name+"\nCOPY --from="+image+" /bin/busybox /b\n", "build", "--progress", "plain", "-"); r.Code == 0 {
			t.Errorf("%s: a build takes it: %v", name, r)
		}
	}
	if got := d.MustDocker("images", "-q", addr+"/x:*"); got != "" {
		t.Errorf("half an image is visible: %s", got)
	}
	h.manifests["large"] = []byte(`{"schemaVersion":2,"annotations":{"a":"` + strings.Repeat("a", 21<<20) + `"}}`)
	d.FailDocker("pull", addr+"/x:large")

	h.image(t, "hostile", hostile(), layers, nil)
	d.MustDocker("pull", "-q", addr+"/x:hostile")
	if r := d.FailDocker("run", "--rm", addr+"/x:hostile", "x"); !strings.Contains(r.Stderr, "working directory") {
		t.Error(r)
	}
	d.MustDocker("rmi", addr+"/x:hostile")
	d.MustDocker("builder", "prune", "-af")
}

func hostile() *busybox.Config {
	c := &busybox.Config{}
	c.User = "../../etc/passwd:\n\x1b[31m"
	c.Env = []string{"=", "NOVALUE", "A=\x00b", "PATH=\x1b[2J"}
	c.WorkingDir = "../../../../tmp/outside"
	c.Volumes = map[string]struct{}{"../../etc": {}, "/": {}, "": {}, "/proc": {}}
	return c
}
