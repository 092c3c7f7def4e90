// Package busybox makes small real images from the host's static busybox, so
// that tests run containers without a registry.
package busybox

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"time"

	imagespec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Binary is the static busybox that the images hold (Debian: busybox-static).
const Binary = "/bin/busybox"

// Epoch is every file's and every image's time, so that archives are
// reproducible.
var Epoch = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

// Config is an image's configuration as Docker has it.
type Config = imagespec.DockerOCIImageConfig

// Healthcheck is an image's health check.
type Healthcheck = imagespec.HealthcheckConfig

// File is one entry of a layer. Its parents need not be listed.
type File struct {
	Path string      // absolute in the image; a base name .wh.NAME removes NAME
	Body string      // content of a regular file
	Mode os.FileMode // permission bits, setuid and sticky; os.ModeDir makes a directory. 0 is 0644
	UID  int
	GID  int
	Link string // not empty: a symlink to it
}

type image struct {
	config  Config
	arch    string
	created time.Time
	layers  [][]byte // tars, lowest first
	history []ocispec.History
}

// Option changes an image.
type Option func(*image) error

// Configure lets f change the configuration. It starts with PATH as Env and
// sh as Cmd.
func Configure(f func(*Config)) Option {
	return func(i *image) error { f(&i.config); return nil }
}

// Cmd sets the command.
func Cmd(args ...string) Option { return Configure(func(c *Config) { c.Cmd = args }) }

// Entrypoint sets the entrypoint.
func Entrypoint(args ...string) Option { return Configure(func(c *Config) { c.Entrypoint = args }) }

// Env adds NAME=value pairs.
func Env(env ...string) Option {
	return Configure(func(c *Config) { c.Env = append(c.Env, env...) })
}

// User sets the user: name, uid, name:group or uid:gid.
func User(user string) Option { return Configure(func(c *Config) { c.User = user }) }

// WorkingDir sets the working directory.
func WorkingDir(dir string) Option { return Configure(func(c *Config) { c.WorkingDir = dir }) }

// Volumes declares anonymous volumes.
func Volumes(targets ...string) Option {
	return Configure(func(c *Config) { c.Volumes = set(c.Volumes, targets) })
}

// Expose declares ports such as 80/tcp.
func Expose(ports ...string) Option {
	return Configure(func(c *Config) { c.ExposedPorts = set(c.ExposedPorts, ports) })
}

// Label adds a label.
func Label(key, value string) Option {
	return Configure(func(c *Config) {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[key] = value
	})
}

// Health sets the health check.
func Health(h Healthcheck) Option { return Configure(func(c *Config) { c.Healthcheck = &h }) }

// Arch sets the architecture that the image claims, the host's by default.
func Arch(arch string) Option { return func(i *image) error { i.arch = arch; return nil } }

// Created sets the image's time.
func Created(t time.Time) Option { return func(i *image) error { i.created = t; return nil } }

// Layer adds one layer with the files, in their order.
func Layer(files ...File) Option {
	return func(i *image) error {
		b, err := layerTar(files)
		if err != nil {
			return err
		}
		i.add(b, "layer")
		return nil
	}
}

func set(m map[string]struct{}, keys []string) map[string]struct{} {
	if m == nil {
		m = map[string]struct{}{}
	}
	for _, k := range keys {
		m[k] = struct{}{}
	}
	return m
}

func (i *image) add(layer []byte, by string) {
	created := i.created
	i.layers = append(i.layers, layer)
	i.history = append(i.history, ocispec.History{Created: &created, CreatedBy: "busybox test image: " + by})
}

func build(opts []Option) (*image, error) {
	i := &image{arch: runtime.GOARCH, created: Epoch}
	i.config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	i.config.Cmd = []string{"sh"}
	files, err := base()
	if err != nil {
		return nil, err
	}
	b, err := layerTar(files)
	if err != nil {
		return nil, err
	}
	i.add(b, "base")
	for _, o := range opts {
		if err := o(i); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// base is the lowest layer: busybox, its applets as symlinks in /bin, and the
// few files that programs expect.
func base() ([]File, error) {
	bin, err := os.ReadFile(Binary)
	if err != nil {
		return nil, fmt.Errorf("reading busybox (install busybox-static): %w", err)
	}
	out, err := exec.Command(Binary, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("listing busybox applets: %w", err)
	}
	files := []File{}
	for _, d := range []string{"bin", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "run", "srv", "sys", "usr", "usr/bin", "usr/sbin", "var", "var/log", "var/www"} {
		files = append(files, File{Path: d, Mode: os.ModeDir | 0o755})
	}
	files = append(files,
		File{Path: "root", Mode: os.ModeDir | 0o700},
		File{Path: "tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
		File{Path: "var/tmp", Mode: os.ModeDir | os.ModeSticky | 0o777},
		File{Path: "home/alice", Mode: os.ModeDir | 0o755, UID: 1000, GID: 1000},
		File{Path: "etc/passwd", Body: "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\nalice:x:1000:1000:alice:/home/alice:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		File{Path: "etc/group", Body: "root:x:0:\ndialout:x:20:alice\nwww-data:x:33:\nstaff:x:50:alice\nalice:x:1000:\nnogroup:x:65534:\n"},
		File{Path: "etc/nsswitch.conf", Body: "hosts: files dns\n"},
		File{Path: "etc/os-release", Body: "NAME=Busybox\nID=busybox\n"},
		File{Path: "bin/busybox", Body: string(bin), Mode: 0o755},
		File{Path: "usr/bin/env", Link: "/bin/busybox"},
	)
	for _, a := range strings.Fields(string(out)) {
		if a = path.Base(a); a != "busybox" {
			files = append(files, File{Path: "bin/" + a, Link: "busybox"})
		}
	}
	return files, nil
}

// blobs are the parts of an image, ready to be written in either format.
type blobs struct {
	config []byte
	layers [][]byte
}

func (i *image) blobs() (blobs, error) {
	created := i.created
	img := imagespec.DockerOCIImage{Config: i.config}
	img.Created = &created
	img.Platform = ocispec.Platform{OS: "linux", Architecture: i.arch}
	img.RootFS = ocispec.RootFS{Type: "layers"}
	img.History = i.history
	for _, l := range i.layers {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromBytes(l))
	}
	b, err := json.Marshal(img)
	return blobs{config: b, layers: i.layers}, err
}

// ID returns the digest of the configuration of the image that the options
// describe: its ID, as Docker has it.
func ID(opts ...Option) (string, error) {
	i, err := build(opts)
	if err != nil {
		return "", err
	}
	b, err := i.blobs()
	if err != nil {
		return "", err
	}
	return digest.FromBytes(b.config).String(), nil
}

// Archive writes an OCI archive with one image of the name ref, which may be
// short (busybox) and then stands for docker.io/library/busybox:latest.
func Archive(w io.Writer, ref string, opts ...Option) error {
	i, err := build(opts)
	if err != nil {
		return err
	}
	return writeOCI(w, ref, i)
}

// DockerArchive writes the same image as docker save has it (manifest.json).
func DockerArchive(w io.Writer, ref string, opts ...Option) error {
	i, err := build(opts)
	if err != nil {
		return err
	}
	return writeDocker(w, ref, i)
}
