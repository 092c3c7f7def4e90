package engine

import (
	"context"
	"fmt"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/auxprogress"
	"github.com/moby/moby/api/types/events"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PushedImage is what a registry has got.
type PushedImage struct {
	Tag    string
	Target ocispec.Descriptor
	// Instead tells of an index of which only one manifest is here; nil otherwise.
	Instead *auxprogress.ManifestPushedInsteadOfIndex
}

// PushImage gives an image to the registry of its name: one tag, or, when the
// reference has none, all that images here have, each told to pushed when it is
// there.
func (e *Engine) PushImage(ctx context.Context, ref, platform string, auth Auth, progress func(Progress), pushed func(PushedImage)) error {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return fmt.Errorf("image %q: %w: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	if _, ok := named.(reference.Digested); ok {
		return fmt.Errorf("cannot push a digest reference: %q: %w", ref, errdefs.ErrInvalidArgument)
	}
	names := []string{named.String()}
	if reference.IsNameOnly(named) {
		if names, err = e.rt.Tagged(ctx, named.String()); err != nil {
			return err
		}
		if len(names) == 0 {
			return fmt.Errorf("An image does not exist locally with the tag: %s: %w", reference.FamiliarName(named), errdefs.ErrNotFound)
		}
	}
	for _, name := range names {
		got, err := e.rt.Push(ctx, name, ctd.PushOptions{Platform: platform, Auth: ctd.Auth(auth), Progress: func(p ctd.Progress) { progress(Progress(p)) }})
		if err != nil {
			return err
		}
		if err := e.emitPush(ctx, name); err != nil {
			return err
		}
		out := PushedImage{Target: got.Target}
		if tagged, err := reference.ParseNormalizedNamed(name); err == nil {
			if t, ok := tagged.(reference.Tagged); ok {
				out.Tag = t.Tag()
			}
		}
		if got.Index != nil {
			out.Instead = &auxprogress.ManifestPushedInsteadOfIndex{ManifestPushedInsteadOfIndex: true, OriginalIndex: *got.Index, SelectedManifest: got.Target}
		}
		pushed(out)
	}
	return nil
}

func (e *Engine) emitPush(ctx context.Context, name string) error {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return err
	}
	var labels map[string]string
	if img, err := e.rt.Image(ctx, name); err == nil { // it may have been removed meanwhile
		labels = img.Config.Labels
	}
	e.emitImage(events.ActionPush, reference.FamiliarString(named), reference.FamiliarName(named), labels)
	return nil
}
