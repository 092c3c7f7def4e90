package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	ctd "gantry/containerd"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PullImage gets an image from its registry.
func (e *Engine) PullImage(ctx context.Context, ref, platform string, auth Auth, progress func(Progress)) error {
	_, err := e.rt.Pull(ctx, ref, ctd.PullOptions{Platform: platform, Auth: ctd.Auth(auth), Progress: func(p ctd.Progress) { progress(Progress(p)) }})
	if err != nil {
		return err
	}
	e.emit(events.ImageEventType, events.ActionPull, ref, map[string]string{"name": ref})
	return nil
}

// LoadImages brings in the images of an archive and returns their names, or
// the IDs of those that have none.
func (e *Engine) LoadImages(ctx context.Context, archive io.Reader, progress func(Progress)) ([]string, error) {
	loaded, err := e.rt.Load(ctx, archive, func(p ctd.Progress) { progress(Progress(p)) })
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range loaded {
		name := l.ID
		if l.Name != "" {
			name = ctd.FamiliarName(l.Name)
		}
		out = append(out, name)
		e.emit(events.ImageEventType, events.ActionLoad, l.ID, map[string]string{"name": name})
	}
	return out, nil
}

// ListImages returns the images that are present, the newest first.
func (e *Engine) ListImages(ctx context.Context, f Filters) ([]image.Summary, error) {
	for key := range f {
		if !slices.Contains([]string{"reference", "label", "dangling", "before", "since"}, key) {
			return nil, fmt.Errorf("invalid filter %q: %w", key, errdefs.ErrInvalidArgument)
		}
	}
	imgs, err := e.rt.Images(ctx)
	if err != nil {
		return nil, err
	}
	before, err := e.imageBound(ctx, f["before"])
	if err != nil {
		return nil, err
	}
	since, err := e.imageBound(ctx, f["since"])
	if err != nil {
		return nil, err
	}
	users := e.imageUsers()
	out := make([]image.Summary, 0, len(imgs))
	for _, img := range imgs {
		tags := familiar(img.Names)
		if len(f["reference"]) > 0 {
			tags = slices.DeleteFunc(tags, func(tag string) bool {
				return !slices.ContainsFunc(f["reference"], func(p string) bool { return matchReference(p, tag) })
			})
			if len(tags) == 0 {
				continue
			}
		}
		if d := f["dangling"]; len(d) > 0 && (d[0] == "true" || d[0] == "1") != (len(img.Names) == 0) {
			continue
		}
		if !matchLabels(img.Config.Labels, f["label"]) || before != nil && !img.Created.Before(before.Created) || since != nil && !img.Created.After(since.Created) {
			continue
		}
		out = append(out, image.Summary{
			ID: img.ID, RepoTags: tags, RepoDigests: familiar(img.Digests), Created: img.Created.Unix(), Size: img.Size,
			SharedSize: -1, Containers: int64(users[img.ID]), Labels: img.Config.Labels,
		})
	}
	return out, nil
}

func (e *Engine) imageBound(ctx context.Context, refs []string) (*ctd.Image, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	return e.rt.Image(ctx, refs[0])
}

func familiar(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, ctd.FamiliarName(n))
	}
	return out
}

func (e *Engine) imageUsers() map[string]int {
	out := map[string]int{}
	for _, c := range e.all() {
		out[c.record().ImageID]++
	}
	return out
}

// sameImage tells whether two references name the same image here.
func (e *Engine) sameImage(a, b string) bool {
	na, err := ctd.NormalizeReference(a)
	if err != nil {
		return false
	}
	nb, err := ctd.NormalizeReference(b)
	return err == nil && na == nb
}

// InspectImage tells all that is known about an image, in Docker's shape.
func (e *Engine) InspectImage(ctx context.Context, ref string) (image.InspectResponse, error) {
	img, err := e.image(ctx, ref)
	if err != nil {
		return image.InspectResponse{}, err
	}
	cfg := img.Config
	r := image.InspectResponse{
		ID: img.ID, RepoTags: familiar(img.Names), RepoDigests: familiar(img.Digests), Created: stamp(img.Created), Author: img.Author,
		Config: &cfg, Architecture: img.Architecture, Variant: img.Variant, Os: img.OS, Size: img.Size,
		RootFS:      image.RootFS{Type: "layers", Layers: img.DiffIDs},
		GraphDriver: &storage.DriverData{Name: "overlayfs", Data: map[string]string{}},
		Metadata:    image.Metadata{LastTagTime: img.Pulled},
		Descriptor:  &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(img.Target)},
	}
	if n := len(img.History); n > 0 {
		r.Comment = img.History[n-1].Comment
	}
	return r, nil
}

// image finds an image; the error is Docker's.
func (e *Engine) image(ctx context.Context, ref string) (*ctd.Image, error) {
	img, err := e.rt.Image(ctx, ref)
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("No such image: %s: %w", ref, errdefs.ErrNotFound)
	}
	return img, err
}

// TagImage gives an image another name.
func (e *Engine) TagImage(ctx context.Context, ref, target string) error {
	img, err := e.image(ctx, ref)
	if err != nil {
		return err
	}
	if err := e.rt.Tag(ctx, ref, target); err != nil {
		return err
	}
	e.emit(events.ImageEventType, events.ActionTag, img.ID, map[string]string{"name": target})
	return nil
}

// RemoveImage takes a name away, and the image when it has no other; one that
// a container uses stays. force removes it from stopped ones.
func (e *Engine) RemoveImage(ctx context.Context, ref string, force bool) ([]image.DeleteResponse, error) {
	img, err := e.image(ctx, ref)
	if err != nil {
		return nil, err
	}
	byID := strings.HasPrefix(img.ID, "sha256:"+strings.TrimPrefix(ref, "sha256:"))
	if len(img.Names) < 2 || byID {
		for _, c := range e.all() {
			rec, st := c.record(), c.state()
			if rec.ImageID == img.ID && (!force || st.alive()) {
				return nil, fmt.Errorf("image %q is used by container %q (%s), remove that first: %w", ref, rec.Name, st.Status, errdefs.ErrConflict)
			}
		}
	}
	if byID && len(img.Names) > 1 && !force {
		return nil, fmt.Errorf("image %s has several names (%s), force its removal or remove the names: %w", ref, strings.Join(familiar(img.Names), ", "), errdefs.ErrConflict)
	}
	removed, err := e.rt.Remove(ctx, ref)
	if err != nil {
		return nil, err
	}
	var out []image.DeleteResponse
	for _, n := range removed.Untagged {
		out = append(out, image.DeleteResponse{Untagged: ctd.FamiliarName(n)})
		e.emit(events.ImageEventType, events.ActionUnTag, img.ID, map[string]string{"name": ctd.FamiliarName(n)})
	}
	for _, id := range removed.Deleted {
		out = append(out, image.DeleteResponse{Deleted: id})
		e.emit(events.ImageEventType, events.ActionDelete, id, map[string]string{"name": id})
	}
	return out, nil
}

// observeImages looks images up, here and where asked in their registries; the
// latter all at once.
func (e *Engine) observeImages(ctx context.Context, asked []scheduler.ImageQuery) (map[string]scheduler.Image, error) {
	out := make(map[string]scheduler.Image, len(asked))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, q := range asked {
		img, err := e.rt.Image(ctx, q.Ref)
		if err != nil && !errdefs.IsNotFound(err) {
			if errdefs.IsInvalidArgument(err) {
				mu.Lock()
				out[q.Ref] = scheduler.Image{Err: err}
				mu.Unlock()
				continue
			}
			return nil, err
		}
		var got scheduler.Image
		target := ""
		if err == nil {
			target = img.Target
			got = scheduler.Image{ID: img.ID, Pulled: img.Pulled, HasProbe: newCheck(img.Config.Healthcheck) != nil}
			for v := range img.Config.Volumes {
				got.Volumes = append(got.Volumes, v)
			}
			slices.Sort(got.Volumes)
		}
		missing := errors.Is(err, errdefs.ErrNotFound)
		if !(missing && q.Remote) && (q.Stale.IsZero() || missing || !got.Pulled.Before(q.Stale)) {
			mu.Lock()
			out[q.Ref] = got
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			remote, err := e.rt.Resolve(ctx, q.Ref, ctd.PullOptions{Platform: q.Platform})
			switch {
			case err != nil:
				got.Err = err
			case remote == target:
				got.Remote = got.ID
			default:
				got.Remote = remote
			}
			mu.Lock()
			out[q.Ref] = got
			mu.Unlock()
		})
	}
	wg.Wait()
	return out, ctx.Err()
}
