package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PullOptions says how an image is pulled.
type PullOptions struct {
	Platform string // such as linux/arm64, the host's when empty
	Auth     Auth
	Progress func(Progress) // called from several goroutines; must not block
}

// Resolve asks the registry whether it has an image, and returns the digest of
// its manifest or index; nothing is downloaded. Errors say what the registry
// answered, see registryError.
func (r *Runtime) Resolve(ctx context.Context, ref string, o PullOptions) (string, error) {
	name, err := NormalizeReference(ref)
	if err != nil {
		return "", err
	}
	resolver, err := r.cfg.Registries.resolver(name, o.Auth, nil)
	if err != nil {
		return "", err
	}
	desc, err := r.resolve(r.with(ctx), resolver, name, briefly, nil)
	return desc.Digest.String(), err
}

// Pull gets an image, its layers in parallel, and unpacks it. What an
// interrupted pull has got is used by the next one within a day.
func (r *Runtime) Pull(ctx context.Context, ref string, o PullOptions) (*Image, error) {
	ctx = r.with(ctx)
	name, err := NormalizeReference(ref)
	if err != nil {
		return nil, err
	}
	matcher, err := platform(o.Platform)
	if err != nil {
		return nil, err
	}
	resolver, err := r.cfg.Registries.resolver(name, o.Auth, nil)
	if err != nil {
		return nil, err
	}
	target, err := r.resolve(ctx, resolver, name, pauses, o.Progress)
	if err != nil {
		return nil, err
	}
	key := name + " " + o.Platform
	leave, err := r.pulls.join(ctx, key, target.Digest, o.Progress, func(ctx context.Context, tell report) (func(), error) {
		ctx, done, err := r.lease(ctx, pullLease(key))
		if err == nil {
			err = r.download(ctx, resolver, name, target, matcher, cmp.Or(o.Platform, platforms.DefaultString()), tell)
		}
		return done, err // after an error the lease stays, for the next attempt
	})
	if err != nil {
		return nil, err
	}
	defer leave()
	got, err := r.parse(ctx, images.Image{Name: FamiliarName(name), Target: target})
	if err != nil {
		if errdefs.IsNotFound(err) {
			err = fmt.Errorf("%s is no image, but an attestation or another artifact: %w", FamiliarName(name), errdefs.ErrInvalidArgument)
		}
		return nil, err
	}
	if err := r.setName(ctx, name, target); err != nil {
		return nil, err
	}
	img, err := r.Image(ctx, name)
	if errdefs.IsNotFound(err) {
		return got.here[0], nil // removed again meanwhile
	}
	if err != nil || o.Platform == "" {
		return img, err
	}
	if p, err := platforms.Parse(o.Platform); err == nil && img.For(p, true) != nil {
		return img.For(p, true), nil
	}
	return img, nil // it is for one platform, whatever was asked for
}

// pullLeases begins the names of leases of pulls.
const pullLeases = "pull-"

func pullLease(key string) string {
	return pullLeases + digest.FromString(key).Encoded()[:16]
}

// DropInterrupted removes what pulls have left behind that did not succeed, and
// are not under way.
func (r *Runtime) DropInterrupted(ctx context.Context) error {
	ctx = r.with(ctx)
	dropped, err := r.pulls.drop(ctx, r.client.LeasesService())
	if err != nil {
		return fmt.Errorf("what interrupted pulls have left: %w", err)
	}
	if !dropped {
		return nil
	}
	return r.Collect(ctx)
}

func platform(s string) (platforms.MatchComparer, error) {
	if s == "" {
		return platforms.Default(), nil
	}
	p, err := platforms.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w: %w", s, err, errdefs.ErrInvalidArgument)
	}
	return platforms.Only(p), nil
}

// resolve finds what a registry has under a name. A registry that asks for a
// pause gets it.
func (r *Runtime) resolve(ctx context.Context, resolver remotes.Resolver, name string, again func(error) bool, tell report) (target ocispec.Descriptor, err error) {
	waiting := func(text string) { tell.tell(Progress{ID: domainOf(name), Status: text}) }
	err = retry(ctx, r.cfg.Registries.attempts(), again, waiting, func(int) error {
		_, target, err = resolver.Resolve(ctx, name)
		return err
	})
	return target, registryError(name, err)
}

func (r *Runtime) download(ctx context.Context, resolver mirrored, name string, target ocispec.Descriptor, matcher platforms.MatchComparer, asked string, tell report) error {
	fetchers, err := resolver.fetchers(ctx, name)
	if err != nil {
		return err
	}
	source, err := docker.AppendDistributionSourceLabel(r.client.ContentStore(), name)
	if err != nil {
		return err
	}
	tell.tell(Progress{ID: FamiliarName(name), Status: "Pulling"})
	f := fetch{store: r.client.ContentStore(), fetchers: fetchers, tell: tell, attempts: r.cfg.Registries.attempts(), log: r.log}
	if err := r.get(ctx, target, matcher, f, source, tell); err != nil {
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("image %q: no matching manifest for %s in the manifest list entries: no match for platform in manifest, or it is not whole: %w", FamiliarName(name), asked, err)
		}
		return registryError(name, err)
	}
	if err := r.attestations(ctx, f.store, target, images.Handlers(f, source)); err != nil {
		return registryError(name, err)
	}
	tell.tell(Progress{ID: FamiliarName(name), Status: "Pulled"})
	return nil
}

// get downloads an image and unpacks it meanwhile. A layer that came otherwise
// than its digest says was downloaded again; then all is unpacked as it should.
func (r *Runtime) get(ctx context.Context, target ocispec.Descriptor, matcher platforms.MatchComparer, f fetch, source images.Handler, tell report) error {
	s := r.newStreams(ctx, tell)
	meanwhile := f
	meanwhile.store = s.into(r)
	err := s.end(r.unpack(ctx, target, matcher, s.ahead(images.Handlers(meanwhile, source)), s, r.cfg.Registries.downloads()))
	if err == nil || !s.spoilt.Load() || ctx.Err() != nil {
		return err
	}
	f.tell = nil
	return r.walk(ctx, target, matcher, images.Handlers(f, source), tell)
}

// fetch downloads what is not here and tells how far layers are.
type fetch struct {
	store    content.Store
	fetchers []remotes.Fetcher // take turns in attempts
	tell     report
	attempts int
	log      *log.Entry
}

func (f fetch) Handle(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	tell := f.tell
	if !images.IsLayerType(desc.MediaType) {
		tell = nil
	}
	err := f.here(ctx, desc)
	exists := err == nil
	switch {
	case exists:
		tell.tell(Progress{ID: layerID(desc), Status: "Already exists", Current: desc.Size, Total: desc.Size})
	case errdefs.IsNotFound(err):
		tell.tell(Progress{ID: layerID(desc), Status: "Downloading", Total: desc.Size})
	default:
		return nil, err
	}
	desc.URLs = nil // an image does not say where the daemon goes
	get := func(from remotes.Fetcher) remotes.FetcherFunc {
		return func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
			rc, err := from.Fetch(ctx, desc)
			if err != nil {
				return nil, err
			}
			return &countingReader{ReadCloser: rc, desc: desc, tell: tell, limit: newThrottle()}, nil
		}
	}
	// Also for what is here: it comes under the lease, so that it stays.
	waiting := func(text string) { tell.tell(Progress{ID: layerID(desc), Status: text}) }
	err = retry(ctx, f.attempts, transient, waiting, func(attempt int) error {
		from := (attempt - 1) % len(f.fetchers)
		err := f.once(ctx, get(f.fetchers[from]), desc)
		if err != nil && from < len(f.fetchers)-1 && transient(err) {
			f.log.Warnf("a mirror fails, the registry itself is asked for %s: %v", desc.Digest, err)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	if images.IsManifestType(desc.MediaType) {
		if err := f.announce(ctx, desc); err != nil {
			return nil, err
		}
	}
	if exists {
		return nil, nil
	}
	tell.tell(Progress{ID: layerID(desc), Status: "Download complete", Current: desc.Size, Total: desc.Size})
	return nil, nil
}

// here tells whether a blob is here: ErrNotFound also for one whose file somebody
// has removed, so that a pull mends what lacks it.
func (f fetch) here(ctx context.Context, desc ocispec.Descriptor) error {
	if _, err := f.store.Info(ctx, desc.Digest); err != nil {
		return err
	}
	blob, err := f.store.ReaderAt(ctx, desc)
	if err == nil {
		return blob.Close()
	}
	if !errdefs.IsNotFound(err) {
		return err
	}
	f.log.Warnf("blob %s is known and its file is not here: it is fetched again", desc.Digest)
	if derr := f.store.Delete(ctx, desc.Digest); derr != nil && !errdefs.IsNotFound(derr) {
		return fmt.Errorf("blob %s: %w", desc.Digest, derr)
	}
	return err
}

// once goes on where an earlier attempt broke off.
func (f fetch) once(ctx context.Context, get remotes.Fetcher, desc ocispec.Descriptor) error {
	err := remotes.Fetch(ctx, f.store, get, desc)
	switch {
	case errdefs.IsAlreadyExists(err):
		return nil
	case errdefs.IsFailedPrecondition(err): // nothing can be made of what came
		if err := f.store.Abort(ctx, remotes.MakeRefKey(ctx, desc)); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("dropping the corrupt download of %s: %w", desc.Digest, err)
		}
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return err
}

// announce tells of a manifest's layers that are to come, all at once: later
// ones wait for their turn.
func (f fetch) announce(ctx context.Context, manifest ocispec.Descriptor) error {
	parts, err := children(ctx, f.store, manifest)
	if err != nil {
		return err
	}
	for _, c := range parts {
		if !images.IsLayerType(c.MediaType) {
			continue
		}
		if _, err := f.store.Info(ctx, c.Digest); errdefs.IsNotFound(err) {
			f.tell.tell(Progress{ID: layerID(c), Status: "Pulling fs layer"})
		}
	}
	return nil
}

// countingReader tells how far a download is. A resumed one begins with a Seek.
type countingReader struct {
	io.ReadCloser
	desc  ocispec.Descriptor
	tell  report
	limit *throttle
	at    int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.at += int64(n)
	if n > 0 && c.limit.allows() {
		c.tell.tell(Progress{ID: layerID(c.desc), Status: "Downloading", Current: c.at, Total: c.desc.Size})
	}
	return n, err
}

func (c *countingReader) Seek(offset int64, whence int) (int64, error) {
	s, ok := c.ReadCloser.(io.Seeker)
	if !ok {
		return 0, errors.New("this download cannot be resumed")
	}
	at, err := s.Seek(offset, whence)
	if err == nil {
		c.at = at
	}
	return at, err
}
