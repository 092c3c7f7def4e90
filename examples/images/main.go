// Command images makes OCI archives of the images that nothing can build: the
// Debian base of the Dockerfiles beside it, by mmdebstrap, and busybox. They
// have the names of the official ones, for machines that reach no registry.
//
//	images -o DIR NAME…
//
// Each NAME is a folder beside this program with an image.json and, in root/,
// files that are laid over the system.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// recipe is an image.json.
type recipe struct {
	Refs   []string            `json:"refs"`   // the image's names
	Suite  string              `json:"suite"`  // Debian release; none: an empty system
	Remove []string            `json:"remove"` // paths of the system, as globs, that the image has not
	Files  map[string]string   `json:"files"`  // target to a file on this machine
	Links  map[string]string   `json:"links"`  // symlink to its target
	Config ocispec.ImageConfig `json:"config"`
}

func main() {
	out := flag.String("o", "bin/images", "directory for the archives")
	recipes := flag.String("recipes", "examples/images", "directory of the recipes")
	force := flag.Bool("force", false, "make archives that are there already")
	flag.Parse()
	for _, name := range flag.Args() {
		if err := build(filepath.Join(*recipes, name), filepath.Join(*out, name+".tar"), *force); err != nil {
			fmt.Fprintf(os.Stderr, "images: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

func build(dir, archive string, force bool) (err error) {
	var r recipe
	b, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, "image.json"), err)
	}
	if !force && fresh(archive, dir, r) {
		fmt.Printf("%s is up to date\n", archive)
		return nil
	}
	fmt.Printf("making %s (%s)\n", archive, strings.Join(r.Refs, ", "))
	work, err := os.MkdirTemp("", "gantry-image-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	layer := filepath.Join(work, "layer.tar")
	if err := rootfs(dir, layer, r); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	return writeArchive(archive, layer, r)
}

// fresh tells whether the archive is newer than all it is made of.
func fresh(archive, dir string, r recipe) bool {
	st, err := os.Stat(archive)
	if err != nil {
		return false
	}
	newer := false
	for _, f := range r.Files {
		if fst, err := os.Stat(f); err != nil || fst.ModTime().After(st.ModTime()) {
			newer = true
		}
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() && info.ModTime().After(st.ModTime()) {
			newer = true
		}
		return err
	})
	return err == nil && !newer
}

// rootfs writes the image's one layer: the system, then files and links of the
// recipe.
func rootfs(dir, layer string, r recipe) error {
	root := layer + ".d"
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if r.Suite != "" {
		args := []string{"--quiet", "--variant=minbase", "--format=directory", "--dpkgopt=path-exclude=/usr/share/doc/*",
			"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", r.Suite, root}
		if err := run("mmdebstrap", args...); err != nil {
			return err
		}
	}
	for _, pattern := range r.Remove {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return fmt.Errorf("remove %q: %w", pattern, err)
		}
		for _, p := range paths {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	if over := filepath.Join(dir, "root"); exists(over) {
		if err := run("cp", "-a", "--no-preserve=ownership", over+"/.", root); err != nil {
			return err
		}
	}
	for target, file := range r.Files {
		if err := run("install", "-D", "-m", "0755", file, filepath.Join(root, target)); err != nil {
			return err
		}
	}
	for link, target := range r.Links {
		p := filepath.Join(root, link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.RemoveAll(p), os.Symlink(target, p)); err != nil {
			return err
		}
	}
	return run("tar", "-C", root, "--numeric-owner", "--xattrs", "-cf", layer, ".")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%s: %w: %s", name, err, strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
	return nil
}

// sortedRefs are the image's names in a stable order.
func sortedRefs(r recipe) []string { return slices.Sorted(slices.Values(r.Refs)) }
