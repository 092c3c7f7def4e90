package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"gantry/containerd/spec"
	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// givenDir holds the secrets and configs of a container, named by their place in
// its record. Processes of the host have no way in: its mode is 0700.
func givenDir(dir string) string { return filepath.Join(dir, "files") }

func givenPath(dir string, i int) string { return filepath.Join(givenDir(dir), strconv.Itoa(i)) }

// giveFiles writes the secrets and configs of a container that is being made,
// and leaves its record without their contents.
func (c *ctr) giveFiles(rec *record, files []project.File) error {
	if len(files) == 0 {
		return nil
	}
	if err := os.Mkdir(givenDir(c.dir), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for i, f := range files {
		if f.Withheld {
			return fmt.Errorf("%s %q: its content was not sent: %w", f.Kind, f.Name, errdefs.ErrFailedPrecondition)
		}
		path := givenPath(c.dir, i)
		err := os.WriteFile(path, f.Content, 0o400)
		if err == nil {
			err = os.Chown(path, f.UID, f.GID)
		}
		if err == nil { // after the owner, whose change takes bits away
			err = os.Chmod(path, fs.FileMode(f.Mode&0o777))
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", f.Kind, f.Name, err)
		}
		f.Content, f.Withheld = nil, true
		rec.Files = append(rec.Files, f)
	}
	return nil
}

// givenMounts are the mounts of a container's secrets and configs.
func givenMounts(dir string, rec *record) []spec.Mount {
	var out []spec.Mount
	for i, f := range rec.Files {
		out = append(out, spec.Mount{Type: "bind", Source: givenPath(dir, i), Target: f.Target, Options: []string{"rbind", "rprivate", "ro"}})
	}
	return out
}

// givenDigests tell, by target, what a container's secrets and configs hold.
func givenDigests(dir string, rec *record) map[string]string {
	if len(rec.Files) == 0 {
		return nil
	}
	out := make(map[string]string, len(rec.Files))
	for i, f := range rec.Files {
		content, err := os.ReadFile(givenPath(dir, i))
		if err != nil {
			log.L.WithError(err).Warnf("container %q: %s %q", rec.Name, f.Kind, f.Name)
			continue // it counts as another one
		}
		out[f.Target] = project.Content(content).Digest()
	}
	return out
}
