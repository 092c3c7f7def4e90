package containerd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// PushOptions says how an image is pushed.
type PushOptions struct {
	Platform string // of the one manifest to push, such as linux/arm64; all of the image when empty
	Auth     Auth
	Progress func(Progress) // called from several goroutines; must not block
}

// Pushed is what a registry has got under a name.
type Pushed struct {
	Name   string // complete reference
	Target ocispec.Descriptor
	Index  *ocispec.Descriptor // the image's own target, when not all of it is here
}

// Tagged lists the complete references that images have in a repository, sorted.
func (r *Runtime) Tagged(ctx context.Context, repository string) ([]string, error) {
	named, err := reference.ParseNormalizedNamed(repository)
	if err != nil {
		return nil, fmt.Errorf("repository %q: %w: %w", repository, err, errdefs.ErrInvalidArgument)
	}
	all, err := r.Images(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, img := range all {
		for _, name := range img.Names {
			if ref, err := reference.ParseNormalizedNamed(name); err == nil && ref.Name() == named.Name() {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Push gives an image to the registry of its name, as it is stored here: the
// blobs side by side, those that the registry has left out, then the manifests,
// then the name. A blob whose connection breaks is sent again, within bounds;
// one that an interrupted push has brought over is not. ErrNotFound without the
// image; otherwise errors say what the registry answered, see registryError.
func (r *Runtime) Push(ctx context.Context, ref string, o PushOptions) (*Pushed, error) {
	ctx = r.with(ctx)
	name, err := NormalizeReference(ref)
	if err != nil {
		return nil, err
	}
	plan, err := r.planPush(ctx, name, o.Platform)
	if err != nil {
		return nil, err
	}
	tracker := docker.NewInMemoryTracker()
	resolver, err := r.cfg.Registries.resolver(name, o.Auth, tracker)
	if err != nil {
		return nil, err
	}
	store := r.client.ContentStore()
	source, err := docker.AppendDistributionSourceLabel(store, name)
	if err != nil {
		return nil, err
	}
	if len(plan.missing) > 0 && serves(ctx, resolver, name, plan.missing, r.cfg.Registries.uploads()) {
		plan.target, plan.index = *plan.index, nil
	} else {
		plan.missing = nil
	}
	target := plan.target
	pusher, err := resolver.Pusher(ctx, name+"@"+target.Digest.String()) // of all manifests this one gets the tag
	if err != nil {
		return nil, err
	}
	ctx, done, err := r.lease(ctx, "")
	if err != nil {
		return nil, err
	}
	defer done()
	if err := r.hold(ctx, target); err != nil { // an image that is removed meanwhile is pushed whole
		return nil, err
	}
	p := push{store: store, pusher: pusher, tracker: tracker, source: source, tell: o.Progress, limits: r.cfg.Registries, reached: new(atomic.Bool), there: plan.missing}
	if err := p.all(ctx, target); err != nil {
		return nil, pushError(name, err)
	}
	return &Pushed{Name: name, Target: target, Index: plan.index}, nil
}

// hold keeps content for as long as the lease of ctx.
func (r *Runtime) hold(ctx context.Context, desc ocispec.Descriptor) error {
	id, _ := leases.FromContext(ctx)
	err := r.client.LeasesService().AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: desc.Digest.String(), Type: "content"})
	if err != nil {
		return fmt.Errorf("keeping %s: %w", desc.Digest, err)
	}
	return nil
}

// push brings one image to a registry.
type push struct {
	store   content.Store
	pusher  remotes.Pusher
	tracker docker.StatusTracker
	source  images.HandlerFunc // notes in which repository a blob is, so that others can mount it
	tell    report
	limits  Registries
	there   []ocispec.Descriptor // what the registry has and is not here
	reached *atomic.Bool         // the registry has taken or had something: from then on faults may pass
}

func (p push) all(ctx context.Context, target ocispec.Descriptor) error {
	blobs, manifests, err := p.collect(ctx, target)
	if err != nil {
		return err
	}
	limit := p.limits.uploads()
	for i, b := range blobs {
		if images.IsLayerType(b.MediaType) {
			p.tell.tell(Progress{ID: layerID(b), Status: "Preparing"})
			if i >= limit {
				p.tell.tell(Progress{ID: layerID(b), Status: "Waiting"})
			}
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for _, b := range blobs {
		group.Go(func() error { return p.blob(gctx, b) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, m := range manifests { // what one names is there before it
		if err := p.blob(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// collect lists what belongs to target: blobs without repetition, and manifests
// in the order in which a registry takes them.
func (p push) collect(ctx context.Context, target ocispec.Descriptor) (blobs, manifests []ocispec.Descriptor, err error) {
	seen := map[string]bool{}
	for _, d := range p.there {
		seen[d.Digest.String()] = true
	}
	var walk func(d ocispec.Descriptor) error
	walk = func(d ocispec.Descriptor) error {
		if seen[d.Digest.String()] || images.IsNonDistributable(d.MediaType) {
			return nil
		}
		seen[d.Digest.String()] = true
		if !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
			blobs = append(blobs, d)
			return nil
		}
		parts, err := children(ctx, p.store, d)
		if err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		for _, c := range parts {
			if err := walk(c); err != nil {
				return err
			}
		}
		manifests = append(manifests, d)
		return nil
	}
	err = walk(target)
	return blobs, manifests, err
}

// blob brings over one blob or manifest, in several attempts if need be.
func (p push) blob(ctx context.Context, desc ocispec.Descriptor) error {
	tell := p.tell
	if !images.IsLayerType(desc.MediaType) {
		tell = nil
	}
	info, err := p.store.Info(ctx, desc.Digest)
	if err != nil {
		return err
	}
	sources := map[string]string{} // other repositories of the registry that it can take the blob from
	for k, v := range info.Labels {
		if strings.HasPrefix(k, labels.LabelDistributionSource+".") {
			sources[k] = v
		}
	}
	desc.Annotations = sources
	waiting := func(text string) { tell.tell(Progress{ID: layerID(desc), Status: text}) }
	again := func(err error) bool { return pauses(err) || p.reached.Load() && transient(err) }
	err = retry(ctx, p.limits.attempts(), again, waiting, func(int) error { return p.once(ctx, desc, tell) })
	if err != nil {
		return err
	}
	_, err = p.source(ctx, desc)
	return err
}

func (p push) once(ctx context.Context, desc ocispec.Descriptor, tell report) error {
	w, err := p.pusher.Push(ctx, desc)
	if err == nil || errdefs.IsAlreadyExists(err) {
		p.reached.Store(true)
	}
	if errdefs.IsAlreadyExists(err) {
		text := "Layer already exists"
		if s, err := p.tracker.GetStatus(remotes.MakeRefKey(ctx, desc)); err == nil && s.MountedFrom != "" {
			text = "Mounted from " + s.MountedFrom
		}
		tell.tell(Progress{ID: layerID(desc), Status: text})
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	defer context.AfterFunc(ctx, func() { _ = w.Close() })() // a write does not look at ctx
	body, err := p.store.ReaderAt(ctx, desc)
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%s of it is not here: pull or build it again: %w", desc.Digest, errdefs.ErrNotFound)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	tell.tell(Progress{ID: layerID(desc), Status: "Pushing", Total: desc.Size})
	from := &sentReader{SectionReader: io.NewSectionReader(body, 0, desc.Size), desc: desc, tell: tell, limit: newThrottle()}
	if err := content.Copy(ctx, w, from, desc.Size, desc.Digest); err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	tell.tell(Progress{ID: layerID(desc), Status: "Pushed"})
	return nil
}

// sentReader tells how far an upload is. One that begins anew seeks.
type sentReader struct {
	*io.SectionReader
	desc  ocispec.Descriptor
	tell  report
	limit *throttle
}

func (s *sentReader) Read(b []byte) (int, error) {
	n, err := s.SectionReader.Read(b)
	if at, serr := s.Seek(0, io.SeekCurrent); serr == nil && n > 0 && s.limit.allows() {
		s.tell.tell(Progress{ID: layerID(s.desc), Status: "Pushing", Current: at, Total: s.desc.Size})
	}
	return n, err
}
