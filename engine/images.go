package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	ctd "gantry/containerd"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
	"github.com/opencontainers/go-digest"
)

// ImageInspectOptions says what InspectImage tells.
type ImageInspectOptions struct {
	Platform  string // the image must be for it, such as linux/arm64
	Manifests bool   // all variants, those that are not here included
}

// InspectImage tells all that is known about an image, in Docker's shape.
func (e *Engine) InspectImage(ctx context.Context, ref string, o ImageInspectOptions) (image.InspectResponse, error) {
	img, err := e.imageFor(ctx, ref, o.Platform)
	if err != nil {
		return image.InspectResponse{}, err
	}
	cfg, target := img.Config, img.Descriptor
	r := image.InspectResponse{
		ID: img.ID, RepoTags: familiar(img.Names), RepoDigests: familiar(img.Digests), Created: stamp(img.Created), Author: img.Author,
		Config: &cfg, Architecture: img.Architecture, Variant: img.Variant, Os: img.OS, OsVersion: img.OSVersion, Size: img.Size,
		RootFS:      image.RootFS{Type: "layers", Layers: img.DiffIDs},
		GraphDriver: &storage.DriverData{Name: e.rt.Snapshotter(), Data: map[string]string{}},
		Metadata:    image.Metadata{LastTagTime: img.Pulled},
		Descriptor:  &target,
	}
	if n := len(img.History); n > 0 {
		r.Comment = img.History[n-1].Comment
	}
	if o.Manifests {
		r.Manifests, err = e.manifests(ctx, img)
	}
	return r, err
}

// image finds an image; the error is Docker's.
func (e *Engine) image(ctx context.Context, ref string) (*ctd.Image, error) {
	img, err := e.rt.Image(ctx, ref)
	if errdefs.IsNotFound(err) {
		return nil, noSuchImage(ref)
	}
	return img, err
}

func noSuchImage(ref string) error {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil {
		ref = reference.FamiliarString(reference.TagNameOnly(named))
	}
	return fmt.Errorf("No such image: %s: %w", ref, errdefs.ErrNotFound)
}

// imageFor is image, for a platform when one is asked for.
func (e *Engine) imageFor(ctx context.Context, ref, platform string) (*ctd.Image, error) {
	if _, err := e.image(ctx, ref); err != nil {
		return nil, err
	}
	return e.rt.ImageFor(ctx, ref, platform)
}

// manifests are an image's variants in Docker's shape.
func (e *Engine) manifests(ctx context.Context, img *ctd.Image) ([]image.ManifestSummary, error) {
	variants, err := e.rt.Variants(ctx, img)
	if err != nil {
		return nil, err
	}
	users := e.imageUsers()
	out := make([]image.ManifestSummary, 0, len(variants))
	for _, v := range variants {
		m := image.ManifestSummary{ID: v.Descriptor.Digest.String(), Descriptor: v.Descriptor, Available: v.Available, Kind: image.ManifestKindImage}
		m.Size.Content, m.Size.Total = v.Content, v.Content+v.Unpacked
		if v.Attestation {
			m.Kind, m.AttestationData = image.ManifestKindAttestation, &image.AttestationProperties{For: digest.Digest(v.Describes)}
		} else {
			m.ImageData = &image.ImageProperties{Containers: []string{}}
			if p := v.Descriptor.Platform; p != nil {
				m.ImageData.Platform = *p
			}
			m.ImageData.Size.Unpacked = v.Unpacked
			m.ImageData.Containers = append(m.ImageData.Containers, users[v.ID]...)
		}
		out = append(out, m)
	}
	return out, nil
}

// AttestationOptions says what ImageAttestations tells.
type AttestationOptions struct {
	Platform   string   // such as linux/arm64, the best that is here when empty
	Types      []string // predicate types, all when empty
	Statements bool     // their text, too
}

// ImageAttestations lists the statements about an image that are here.
func (e *Engine) ImageAttestations(ctx context.Context, ref string, o AttestationOptions) ([]image.AttestationStatement, error) {
	img, err := e.imageFor(ctx, ref, o.Platform)
	if err != nil {
		return nil, err
	}
	found, err := e.rt.Attestations(ctx, img, o.Statements)
	if err != nil {
		return nil, err
	}
	var out []image.AttestationStatement
	for _, a := range found {
		if len(o.Types) > 0 && !slices.Contains(o.Types, a.PredicateType) {
			continue
		}
		one := image.AttestationStatement{Descriptor: a.Descriptor, PredicateType: a.PredicateType}
		if a.Statement != nil {
			one.Statement = &a.Statement
		}
		out = append(out, one)
	}
	return out, nil
}

// ImageHistory tells how an image came to be, its newest layer first.
func (e *Engine) ImageHistory(ctx context.Context, ref, platform string) ([]image.HistoryResponseItem, error) {
	img, err := e.imageFor(ctx, ref, platform)
	if err != nil {
		return nil, err
	}
	return history(img), nil
}

// history pairs an image's history with its layers. Layers that it does not
// mention come last, so that all of them are seen.
func history(img *ctd.Image) []image.HistoryResponseItem {
	var out []image.HistoryResponseItem
	sizes := img.Layers
	for _, h := range img.History {
		item := image.HistoryResponseItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer && len(sizes) > 0 {
			item.Size, sizes = sizes[0], sizes[1:]
		}
		out = append(out, item)
	}
	for _, size := range sizes {
		out = append(out, image.HistoryResponseItem{ID: "<missing>", Created: img.Created.Unix(), Size: size})
	}
	slices.Reverse(out)
	if len(out) > 0 {
		out[0].ID, out[0].Tags = img.ID, familiar(img.Names)
	}
	return out
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
	e.emitTag(img, target)
	return nil
}

func (e *Engine) emitTag(img *ctd.Image, target string) {
	if full, err := ctd.NormalizeReference(target); err == nil {
		target = ctd.FamiliarName(full)
	}
	e.emitImage(events.ActionTag, img.ID, target, img.Config.Labels)
}

// emitImage publishes an image's event with Docker's attributes: its labels and
// a name, which for most events is its ID.
func (e *Engine) emitImage(action events.Action, id, name string, labels map[string]string) {
	attrs := make(map[string]string, len(labels)+1)
	for k, v := range labels {
		attrs[k] = v
	}
	attrs["name"] = name
	e.emit(events.ImageEventType, action, id, attrs)
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

// observeImages looks images up, here and where asked in their registries; the
// latter all at once.
func (e *Engine) observeImages(ctx context.Context, asked []scheduler.ImageQuery) (map[string]scheduler.Image, error) {
	out := make(map[string]scheduler.Image, len(asked))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, q := range asked {
		img, err := e.imageToRun(ctx, q.Ref, q.Platform)
		if err != nil && !errdefs.IsNotFound(err) {
			if errdefs.IsInvalidArgument(err) {
				mu.Lock()
				out[q.Key()] = scheduler.Image{Err: err}
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
		missing := errdefs.IsNotFound(err)
		if !(missing && q.Remote) && (q.Stale.IsZero() || missing || !got.Pulled.Before(q.Stale)) {
			mu.Lock()
			out[q.Key()] = got
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			remote, err := e.rt.Resolve(ctx, q.Ref, ctd.PullOptions{Platform: q.Platform, Auth: ctd.Auth(credentialsFor(ctx, q.Ref))})
			switch {
			case err != nil:
				got.Err = err
			case remote == target:
				got.Remote = got.ID
			default:
				got.Remote = remote
			}
			mu.Lock()
			out[q.Key()] = got
			mu.Unlock()
		})
	}
	wg.Wait()
	return out, ctx.Err()
}
