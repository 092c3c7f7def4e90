package busybox_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gantry/tests/busybox"
)

func options() []busybox.Option {
	return []busybox.Option{
		busybox.Cmd("sleep", "9"), busybox.Env("A=b"), busybox.User("alice"), busybox.Volumes("/data"), busybox.Expose("80/tcp"),
		busybox.Layer(busybox.File{Path: "/data", Mode: os.ModeDir | 0o750, UID: 7}, busybox.File{Path: "/data/x", Body: "hi"}),
	}
}

func TestArchivesAreReproducible(t *testing.T) {
	for name, write := range map[string]func(io.Writer, string, ...busybox.Option) error{"oci": busybox.Archive, "docker": busybox.DockerArchive} {
		var a, b bytes.Buffer
		if err := errors.Join(write(&a, "x", options()...), write(&b, "x", options()...)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: two archives of one image differ", name)
		}
	}
}

// skopeo reads both formats and agrees on the image's ID and configuration.
func TestSkopeoReadsBothFormats(t *testing.T) {
	want, err := busybox.ID(options()...)
	if err != nil {
		t.Fatal(err)
	}
	for format, write := range map[string]func(io.Writer, string, ...busybox.Option) error{"oci-archive": busybox.Archive, "docker-archive": busybox.DockerArchive} {
		dir := t.TempDir()
		file := filepath.Join(dir, "a.tar")
		var b bytes.Buffer
		if err := write(&b, "busybox:1", options()...); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "out.tar")
		if msg, err := exec.Command("skopeo", "copy", "--insecure-policy", format+":"+file, "docker-archive:"+out).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", format, err, msg)
		}
		config := configOf(t, out)
		if "sha256:"+config.name != want+".json" {
			t.Errorf("%s: ID %s, want %s", format, config.name, want)
		}
		c := config.Config
		if c.User != "alice" || len(c.Cmd) != 2 || len(config.RootFS.DiffIDs) != 2 || c.Volumes["/data"] == nil {
			t.Errorf("%s: config %+v", format, config)
		}
	}
}

type configFile struct {
	name   string
	Config struct {
		User    string
		Cmd     []string
		Volumes map[string]*struct{}
	}
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func configOf(t *testing.T, file string) configFile {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err != nil {
			t.Fatalf("no configuration in %s: %v", file, err)
		}
		if filepath.Ext(h.Name) == ".json" && h.Name != "manifest.json" {
			c := configFile{name: h.Name}
			if err := json.NewDecoder(tr).Decode(&c); err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
}
