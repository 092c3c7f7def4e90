package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/mount"
)

// imageMounts holds where images are mounted for containers, by user and number.
func (e *Engine) imageMounts() string { return filepath.Join(e.cfg.RunRoot, "images") }

// imageMount is where the image of a container's i-th mount is mounted: for the
// container itself, or for somebody who works on its files.
func (e *Engine) imageMount(user string, i int) string {
	return filepath.Join(e.imageMounts(), user, strconv.Itoa(i))
}

// makeImageMount keeps the image of a mount, and finds out what of it is mounted.
// No link in the image leads out of it, and nobody changes it: the path stays.
func (e *Engine) makeImageMount(ctx context.Context, rec *record, i int, undo *undoList) (err error) {
	p := &rec.Mounts[i]
	img, err := e.rt.Image(ctx, p.Image)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("image mount at %q: %w: pull it first: %w", p.Target, missingMount(p.Image), errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return err
	}
	p.ImageID = img.ID
	undo.add(func(ctx context.Context) error { return e.rt.DropViews(ctx, rec.ID) })
	if err := e.rt.MakeView(ctx, rec.ID, i, img.ID); err != nil {
		return err
	}
	dir := e.imageMount(rec.ID, i)
	if p.Source = dir; p.Subpath == "" {
		return nil
	}
	if err := e.rt.MountView(ctx, rec.ID, i, dir); err != nil {
		return err
	}
	defer func() { err = errJoin(err, e.releaseImages(rec, rec.ID)) }()
	p.Source, err = volumes.ResolveSubpath(dir, p.Subpath)
	return err
}

// images are the IDs of those that a container is made from and mounts, each once.
func (rec record) images() []string {
	out := []string{rec.ImageID}
	for _, p := range rec.Mounts {
		if p.ImageID != "" && !slices.Contains(out, p.ImageID) {
			out = append(out, p.ImageID)
		}
	}
	return out
}

// missingMount is the error of an image that a container mounts. It is not the
// one that is not here of which clients make containers, and which they pull.
type missingMount string

func (m missingMount) Error() string { return missingImage(m).Error() }

// releaseImages unmounts the images of a container for a user, and tries all.
func (e *Engine) releaseImages(rec *record, user string) error {
	var errs []error
	for i := range rec.Mounts {
		if rec.Mounts[i].Type == mount.TypeImage {
			errs = append(errs, e.rt.UnmountView(e.imageMount(user, i)))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	if err := os.Remove(filepath.Join(e.imageMounts(), user)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errJoin(errs...)
}

// dropImages lets go of the images that a container mounts.
func (e *Engine) dropImages(ctx context.Context, rec *record) error {
	if !slices.ContainsFunc(rec.Mounts, func(p volumes.Point) bool { return p.Type == mount.TypeImage }) {
		return nil
	}
	return e.rt.DropViews(ctx, rec.ID)
}

// sweepImageMounts unmounts what is mounted for nobody.
func (e *Engine) sweepImageMounts(keep func(user string) bool) error {
	users, err := os.ReadDir(e.imageMounts())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, u := range users {
		if keep(u.Name()) {
			continue
		}
		dir := filepath.Join(e.imageMounts(), u.Name())
		mounts, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, m := range mounts {
			errs = append(errs, e.rt.UnmountView(filepath.Join(dir, m.Name())))
		}
		errs = append(errs, os.Remove(dir))
	}
	return errJoin(errs...)
}
