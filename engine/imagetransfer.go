package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/events"
)

// PullImage gets an image from its registry.
func (e *Engine) PullImage(ctx context.Context, ref, platform string, auth Auth, progress func(Progress)) error {
	img, err := e.rt.Pull(ctx, ref, ctd.PullOptions{Platform: platform, Auth: ctd.Auth(auth), Progress: func(p ctd.Progress) { progress(Progress(p)) }})
	if full(err) { // nobody else could write, either
		return errJoin(err, e.dropInterrupted(ctx))
	}
	if err != nil {
		return err
	}
	id, name := ref, ref
	if named, err := reference.ParseDockerRef(ref); err == nil {
		id, name = reference.FamiliarString(named), reference.FamiliarName(named)
	}
	e.emitImage(events.ActionPull, id, name, img.Config.Labels)
	return nil
}

// dropTimeout bounds how long it may take to give room back.
const dropTimeout = time.Minute

// dropInterrupted gives back what pulls that did not succeed have taken.
func (e *Engine) dropInterrupted(ctx context.Context) error {
	defer e.room.spend()()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	return e.rt.DropInterrupted(ctx)
}

// RepositoryTags lists what a repository's registry has of it, as complete
// references.
func (e *Engine) RepositoryTags(ctx context.Context, repository string, auth Auth) ([]string, error) {
	return e.rt.Tags(ctx, repository, ctd.Auth(auth))
}

// LoadedImage is an image that an archive held.
type LoadedImage struct {
	ID   string
	Name string // familiar, "" without one
}

// LoadImages brings in the images of an archive, of those for several platforms
// those asked for, such as linux/arm64, or all.
func (e *Engine) LoadImages(ctx context.Context, archive io.Reader, platforms []string, progress func(Progress)) ([]LoadedImage, error) {
	loaded, err := e.rt.Load(ctx, archive, ctd.LoadOptions{Platforms: platforms, Progress: func(p ctd.Progress) { progress(Progress(p)) }})
	var out []LoadedImage
	for _, l := range loaded { // those before an error stay
		out = append(out, LoadedImage{ID: l.ID, Name: ctd.FamiliarName(l.Name)})
		img, ierr := e.rt.Image(ctx, l.ID)
		if ierr != nil {
			continue // removed meanwhile
		}
		e.emitImage(events.ActionLoad, l.ID, l.ID, img.Config.Labels)
	}
	return out, err
}

// SaveImages finds images and returns what writes them as an archive, for the
// platforms asked for, such as linux/arm64, or all that are here.
func (e *Engine) SaveImages(ctx context.Context, refs []string, platforms []string) (save func(io.Writer) error, err error) {
	var list []ctd.Saved
	for _, ref := range refs {
		found, err := e.rt.FindSaved(ctx, ref)
		if errdefs.IsNotFound(err) {
			return nil, noSuchImage(ref)
		}
		if err != nil {
			return nil, err
		}
		for i, s := range found {
			name := s.Image.ID
			if len(s.Names) > 0 { // it may be here for others under another name
				name = s.Names[0]
			}
			for _, p := range platforms {
				one, err := e.imageFor(ctx, name, p)
				if err != nil {
					return nil, err
				}
				found[i].Only = append(found[i].Only, one)
			}
		}
		list = append(list, found...)
	}
	return func(to io.Writer) error {
		if err := e.rt.Save(ctx, to, list); err != nil {
			return err
		}
		for _, s := range list {
			e.emitImage(events.ActionSave, s.Image.ID, s.Image.ID, s.Image.Config.Labels)
		}
		return nil
	}, nil
}

// ImportOptions says what image is made of a file system's archive.
type ImportOptions struct {
	Source    string // "-" or a URL from which the daemon gets the archive
	Reference string // the new image's name, "" for none
	Message   string
	Platform  string   // such as linux/arm64, the host's when empty
	Changes   []string // Dockerfile instructions
}

// ImportImage makes an image of one layer and returns its ID. The archive is
// read from body unless it has another source.
func (e *Engine) ImportImage(ctx context.Context, body io.Reader, o ImportOptions, progress func(Progress)) (id string, err error) {
	var cfg dockerspec.DockerOCIImageConfig
	for _, change := range o.Changes {
		if err := applyChange(&cfg, change); err != nil {
			return "", err
		}
	}
	if o.Reference != "" {
		if _, err := ctd.NormalizeReference(o.Reference); err != nil {
			return "", err
		}
	}
	comment := o.Message
	if comment == "" {
		comment = "Imported from " + o.Source
	}
	if o.Source != "-" {
		progress(Progress{Status: "Downloading from " + o.Source})
		got, err := download(ctx, o.Source)
		if err != nil {
			return "", err
		}
		defer got.Close()
		body = got
	}
	id, err = e.rt.Import(ctx, body, ctd.ImportOptions{Reference: o.Reference, Platform: o.Platform, Comment: comment, Config: cfg})
	if err != nil {
		return "", err
	}
	e.emitImage(events.ActionImport, id, id, cfg.Labels)
	if img, err := e.rt.Image(ctx, id); err == nil && o.Reference != "" {
		e.emitTag(img, o.Reference)
	}
	return id, nil
}

// downloadAnswer bounds how long a server may take to begin its answer.
const downloadAnswer = time.Minute

// download opens what a URL names; one without a scheme is meant for http.
func download(ctx context.Context, source string) (io.ReadCloser, error) {
	u, err := url.Parse(source)
	if err == nil && u.Scheme == "" {
		u, err = url.Parse("http://" + source)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("import source %q is neither - nor an http or https URL: %w", source, errdefs.ErrInvalidArgument)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("import source %q: %w: %w", source, err, errdefs.ErrInvalidArgument)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout, transport.DisableKeepAlives = downloadAnswer, true
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("import source %q: %w: %w", source, err, errdefs.ErrUnavailable)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("import source %q: the server answers %s: %w", source, resp.Status, errdefs.ErrUnavailable)
	}
	return resp.Body, nil
}
