package busybox

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func layerTar(files []File) ([]byte, error) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{
			Name:    strings.TrimPrefix(path.Clean("/"+f.Path), "/"),
			Uid:     f.UID,
			Gid:     f.GID,
			ModTime: Epoch,
			Format:  tar.FormatPAX,
		}
		mode := f.Mode
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname, mode = tar.TypeSymlink, f.Link, 0o777
		case mode.IsDir():
			h.Typeflag = tar.TypeDir
			h.Name += "/"
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f.Body))
			if mode == 0 {
				mode = 0o644
			}
		}
		h.Mode = unixMode(mode)
		if err := tw.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("layer entry %q: %w", f.Path, err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(tw, f.Body); err != nil {
				return nil, fmt.Errorf("layer entry %q: %w", f.Path, err)
			}
		}
	}
	return b.Bytes(), tw.Close()
}

func unixMode(m os.FileMode) int64 {
	mode := int64(m.Perm())
	if m&os.ModeSetuid != 0 {
		mode |= 0o4000
	}
	if m&os.ModeSetgid != 0 {
		mode |= 0o2000
	}
	if m&os.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

type archive struct {
	tw   *tar.Writer
	seen map[string]bool
}

func (a *archive) file(name string, b []byte) error {
	if a.seen[name] {
		return nil
	}
	a.seen[name] = true
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(b)), ModTime: Epoch, Format: tar.FormatPAX}
	if err := a.tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := a.tw.Write(b)
	return err
}

func (a *archive) json(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.file(name, b)
}

func (a *archive) blob(b []byte, mediaType string) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, a.file("blobs/sha256/"+d.Digest.Encoded(), b)
}

func writeOCI(w io.Writer, ref string, i *image) error {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return fmt.Errorf("image reference %q: %w", ref, err)
	}
	parts, err := i.blobs()
	if err != nil {
		return err
	}
	a := &archive{tw: tar.NewWriter(w), seen: map[string]bool{}}
	if err := a.json(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	if m.Config, err = a.blob(parts.config, ocispec.MediaTypeImageConfig); err != nil {
		return err
	}
	for _, l := range parts.layers {
		d, err := a.blob(l, ocispec.MediaTypeImageLayer)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, d)
	}
	mb, err := json.Marshal(m)
	if err != nil {
		return err
	}
	target, err := a.blob(mb, ocispec.MediaTypeImageManifest)
	if err != nil {
		return err
	}
	target.Platform = &ocispec.Platform{OS: "linux", Architecture: i.arch}
	target.Annotations = map[string]string{"io.containerd.image.name": named.String()}
	if t, ok := named.(reference.Tagged); ok {
		target.Annotations[ocispec.AnnotationRefName] = t.Tag()
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{target}}
	if err := a.json(ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	return a.tw.Close()
}

func writeDocker(w io.Writer, ref string, i *image) error {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return fmt.Errorf("image reference %q: %w", ref, err)
	}
	parts, err := i.blobs()
	if err != nil {
		return err
	}
	a := &archive{tw: tar.NewWriter(w), seen: map[string]bool{}}
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{
		Config:   digest.FromBytes(parts.config).Encoded() + ".json",
		RepoTags: []string{reference.FamiliarString(named)},
	}
	if err := a.file(entry.Config, parts.config); err != nil {
		return err
	}
	for _, l := range parts.layers {
		name := digest.FromBytes(l).Encoded() + "/layer.tar"
		if err := a.file(name, l); err != nil {
			return err
		}
		entry.Layers = append(entry.Layers, name)
	}
	if err := a.json("manifest.json", []any{entry}); err != nil {
		return err
	}
	return a.tw.Close()
}
