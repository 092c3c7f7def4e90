// Command images makes OCI archives of images from Debian packages, under the
// names of the official ones, for machines that reach no registry.
//
//	images -o DIR [-app BINARY] NAME…
//
// Each NAME is a folder beside this program with an image.json and, in root/,
// files that are laid over the packages.
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
	Refs     []string            `json:"refs"`     // the image's names
	Packages []string            `json:"packages"` // Debian packages; none: an empty system
	Files    map[string]string   `json:"files"`    // target to a file on this machine
	Links    map[string]string   `json:"links"`    // symlink to its target, made over the packages
	Remove   []string            `json:"remove"`   // paths that the packages bring and the image has not
	Dirs     map[string]string   `json:"dirs"`     // directory to user of the image that owns it
	Config   ocispec.ImageConfig `json:"config"`
}

func main() {
	out := flag.String("o", "bin/images", "directory for the archives")
	recipes := flag.String("recipes", "examples/images", "directory of the recipes")
	suite := flag.String("suite", "bookworm", "Debian release")
	force := flag.Bool("force", false, "make archives that are there already")
	flag.Parse()
	for _, name := range flag.Args() {
		if err := build(filepath.Join(*recipes, name), filepath.Join(*out, name+".tar"), *suite, *force); err != nil {
			fmt.Fprintf(os.Stderr, "images: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}

func build(dir, archive, suite string, force bool) (err error) {
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
	if err := rootfs(dir, layer, suite, r); err != nil {
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

// rootfs writes the image's one layer: packages, then files, links and
// directories of the recipe.
func rootfs(dir, layer, suite string, r recipe) error {
	root := layer + ".d"
	if len(r.Packages) > 0 {
		args := []string{"--quiet", "--variant=minbase", "--format=directory", "--include=" + strings.Join(r.Packages, ","),
			"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
			"--aptopt=Apt::Install-Recommends false", suite, root}
		if err := run("mmdebstrap", args...); err != nil {
			return err
		}
	} else if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, p := range append(r.Remove, "var/cache/apt", "var/lib/apt/lists") {
		if err := os.RemoveAll(filepath.Join(root, p)); err != nil {
			return err
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
	for d, owner := range r.Dirs {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
		if err := run("chroot", root, "chown", "-R", owner, "/"+d); err != nil {
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
