package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
)

// imageStore keeps images.
type imageStore interface {
	ListImages(ctx context.Context, f engine.Filters) ([]image.Summary, error)
	InspectImage(ctx context.Context, ref string) (image.InspectResponse, error)
	TagImage(ctx context.Context, ref, target string) error
	RemoveImage(ctx context.Context, ref string, force bool) ([]image.DeleteResponse, error)
}

// imageSource brings images in.
type imageSource interface {
	PullImage(ctx context.Context, ref, platform string, auth engine.Auth, progress func(engine.Progress)) error
	LoadImages(ctx context.Context, archive io.Reader, progress func(engine.Progress)) ([]string, error)
	CommitContainer(ctx context.Context, ref string, opts engine.CommitOptions) (id string, err error)
}

type imageRoutes struct {
	imageStore
	imageSource
}

// Image names hold slashes: the parts of a path after a name are told by its end.
func (i imageRoutes) routes() []route {
	return []route{
		{"GET /images/json", i.list},
		{"GET /images/{name...}", i.byEnd(map[string]namedHandler{"/json": i.inspect})},
		{"POST /images/create", i.pull},
		{"POST /images/load", i.load},
		{"POST /images/{name...}", i.byEnd(map[string]namedHandler{"/tag": i.tag})},
		{"DELETE /images/{name...}", i.remove},
		{"POST /commit", i.commit},
	}
}

type namedHandler func(w http.ResponseWriter, r *http.Request, name string) error

// endsOfImages are those that the Engine API has.
var endsOfImages = []string{"/json", "/history", "/get", "/attestations", "/tag", "/push"}

func (i imageRoutes) byEnd(handlers map[string]namedHandler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		path := r.PathValue("name")
		for _, end := range endsOfImages {
			name, ok := strings.CutSuffix(path, end)
			if !ok || name == "" {
				continue
			}
			if h, ok := handlers[end]; ok {
				return h(w, r, name)
			}
			return notImplemented(r.Method + " /images/{name}" + end)
		}
		return notFound(w, r)
	}
}

func (i imageRoutes) list(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	items, err := i.ListImages(r.Context(), f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(items))
}

func (i imageRoutes) inspect(w http.ResponseWriter, r *http.Request, name string) error {
	got, err := i.InspectImage(r.Context(), name)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

func (i imageRoutes) tag(w http.ResponseWriter, r *http.Request, name string) error {
	target := r.URL.Query().Get("repo")
	if target == "" {
		return badRequest("parameter \"repo\": give the new name of image %q", name)
	}
	if tag := r.URL.Query().Get("tag"); tag != "" {
		target += ":" + tag
	}
	ctx, cancel := changing(r)
	defer cancel()
	if err := i.TagImage(ctx, name, target); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (i imageRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := changing(r)
	defer cancel()
	removed, err := i.RemoveImage(ctx, r.PathValue("name"), flag(r, "force"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(removed))
}

// pull answers with the engine's progress. An error before there is any has a
// status of its own; a later one is the stream's last line.
func (i imageRoutes) pull(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if q.Get("fromSrc") != "" {
		return notImplemented("POST /images/create with fromSrc (import)")
	}
	ref, err := pullReference(q.Get("fromImage"), q.Get("tag"))
	if err != nil {
		return err
	}
	auth, err := registryAuth(r.Header.Get(registry.AuthHeader))
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	before, _ := i.InspectImage(ctx, ref.String()) // may well not exist
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	announce := sync.OnceFunc(func() {
		out.put(jsonstream.Message{Status: "Pulling from " + reference.Path(ref), ID: tagOf(ref)})
	})
	err = i.PullImage(ctx, ref.String(), q.Get("platform"), auth, func(p engine.Progress) {
		announce()
		out.progress(p)
	})
	if err != nil {
		return out.fail(err)
	}
	status := "Downloaded newer image for "
	if after, err := i.InspectImage(ctx, ref.String()); err == nil && after.ID == before.ID {
		status = "Image is up to date for "
	}
	out.put(jsonstream.Message{Status: "Status: " + status + reference.FamiliarString(ref)})
	return nil
}

func pullReference(from, tag string) (reference.Named, error) {
	if from == "" {
		return nil, badRequest("parameter \"fromImage\": name the image to pull")
	}
	ref, err := reference.ParseNormalizedNamed(from)
	if err != nil {
		return nil, badRequest("image %q: %w", from, err)
	}
	if tag == "" {
		if reference.IsNameOnly(ref) {
			return nil, fmt.Errorf("image %q: pulling all tags of a repository is not implemented by Gantry, name one: %w", from, errdefs.ErrNotImplemented)
		}
		return ref, nil
	}
	separator := ":"
	if strings.Contains(tag, ":") { // a digest
		separator = "@"
	}
	full := reference.TrimNamed(ref).String() + separator + tag
	if ref, err = reference.ParseNormalizedNamed(full); err != nil {
		return nil, badRequest("image %q: %w", full, err)
	}
	return ref, nil
}

func tagOf(ref reference.Named) string {
	if t, ok := ref.(reference.Tagged); ok {
		return t.Tag()
	}
	return ""
}

// registryAuth decodes the X-Registry-Auth header: JSON in URL-safe base64.
// The header of an anonymous pull is empty or {}.
func registryAuth(header string) (engine.Auth, error) {
	if header == "" {
		return engine.Auth{}, nil
	}
	var c registry.AuthConfig
	b, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		b, err = base64.RawURLEncoding.DecodeString(header)
	}
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return engine.Auth{}, badRequest("header %s cannot be read: %w", registry.AuthHeader, err)
	}
	if c.Username == "" && c.Auth != "" {
		if userPassword, err := base64.StdEncoding.DecodeString(c.Auth); err == nil {
			c.Username, c.Password, _ = strings.Cut(string(userPassword), ":")
		}
	}
	return engine.Auth{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}, nil
}

func (i imageRoutes) load(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := streaming(r)
	defer cancel()
	// progress goes out while the archive comes in; a connection that was used
	// so cannot serve another request unless all of the body was read
	w.Header().Set("Connection", "close")
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		return err
	}
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	progress := out.progress
	if flag(r, "quiet") {
		progress = func(engine.Progress) {}
	}
	names, err := i.LoadImages(ctx, r.Body, progress)
	if err != nil {
		return out.fail(err)
	}
	io.Copy(io.Discard, r.Body) // what stands behind an archive's end
	for _, name := range names {
		out.put(jsonstream.Message{Stream: "Loaded image: " + name + "\n"})
	}
	return nil
}

func (i imageRoutes) commit(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	var config *container.Config
	if err := decodeOptional(w, r, &config); err != nil {
		return err
	}
	target := q.Get("repo")
	if tag := q.Get("tag"); target != "" && tag != "" {
		target += ":" + tag
	}
	ctx, cancel := changing(r)
	defer cancel()
	id, err := i.CommitContainer(ctx, q.Get("container"), engine.CommitOptions{
		Reference: target, Comment: q.Get("comment"), Author: q.Get("author"),
		Changes: q["changes"], Pause: q.Get("pause") == "" || flag(r, "pause"), Config: config,
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, container.CommitResponse{ID: id})
}

// checkPlatform refuses platforms that this machine does not run.
func checkPlatform(asked string) error {
	if asked == "" {
		return nil
	}
	p, err := platforms.Parse(asked)
	if err != nil {
		return badRequest("platform %q: %w", asked, err)
	}
	if !platforms.Default().Match(p) {
		return fmt.Errorf("platform %q: this machine runs %s only: %w", asked, platforms.DefaultString(), errdefs.ErrNotImplemented)
	}
	return nil
}
