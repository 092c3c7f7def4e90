package api

import (
	"context"
	"io"
	"net/http"
	"strings"

	"gantry/engine"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
)

// imageStore keeps images.
type imageStore interface {
	ListImages(ctx context.Context, o engine.ImageListOptions) ([]image.Summary, error)
	InspectImage(ctx context.Context, ref string, o engine.ImageInspectOptions) (image.InspectResponse, error)
	TagImage(ctx context.Context, ref, target string) error
	RemoveImage(ctx context.Context, ref string, o engine.ImageRemoveOptions) ([]image.DeleteResponse, error)
	PruneImages(ctx context.Context, f engine.Filters) (image.PruneReport, error)
}

// imageSource brings images in.
type imageSource interface {
	PullImage(ctx context.Context, ref, platform string, auth engine.Auth, progress func(engine.Progress)) error
	RepositoryTags(ctx context.Context, repository string, auth engine.Auth) ([]string, error)
	CommitContainer(ctx context.Context, ref string, opts engine.CommitOptions) (id string, err error)
}

// imageArchives reads and writes images as archives.
type imageArchives interface {
	ImageHistory(ctx context.Context, ref, platform string) ([]image.HistoryResponseItem, error)
	ImageAttestations(ctx context.Context, ref string, o engine.AttestationOptions) ([]image.AttestationStatement, error)
	LoadImages(ctx context.Context, archive io.Reader, platforms []string, progress func(engine.Progress)) ([]engine.LoadedImage, error)
	SaveImages(ctx context.Context, refs, platforms []string) (save func(io.Writer) error, err error)
	ImportImage(ctx context.Context, body io.Reader, o engine.ImportOptions, progress func(engine.Progress)) (id string, err error)
}

type imageRoutes struct {
	imageStore
	imageSource
	imageArchives
	imagePusher
}

// Image names hold slashes: the parts of a path after a name are told by its end.
func (i imageRoutes) routes() []route {
	return []route{
		{"GET /images/json", i.list},
		{"GET /images/get", i.saveSeveral},
		{"GET /images/{name...}", i.byEnd(map[string]namedHandler{"/json": i.inspect, "/history": i.history, "/attestations": i.attestations, "/get": i.saveOne})},
		{"POST /images/create", i.create},
		{"POST /images/prune", i.prune},
		{"POST /images/load", i.load},
		{"POST /images/{name...}", i.byEnd(map[string]namedHandler{"/tag": i.tag, "/push": i.push})},
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
	items, err := i.ListImages(r.Context(), engine.ImageListOptions{Filters: f, SharedSize: flag(r, "shared-size"), Manifests: flag(r, "manifests")})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(items))
}

func (i imageRoutes) inspect(w http.ResponseWriter, r *http.Request, name string) error {
	platform, err := platformOf(r, "platform")
	if err != nil {
		return err
	}
	manifests := flag(r, "manifests")
	if manifests && platform != "" {
		return badRequest("conflicting options: manifests and platform options cannot both be set")
	}
	got, err := i.InspectImage(r.Context(), name, engine.ImageInspectOptions{Platform: platform, Manifests: manifests})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

func (i imageRoutes) history(w http.ResponseWriter, r *http.Request, name string) error {
	platform, err := platformOf(r, "platform")
	if err != nil {
		return err
	}
	items, err := i.ImageHistory(r.Context(), name, platform)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(items))
}

func (i imageRoutes) attestations(w http.ResponseWriter, r *http.Request, name string) error {
	platform, err := platformOf(r, "platform")
	if err != nil {
		return err
	}
	items, err := i.ImageAttestations(r.Context(), name, engine.AttestationOptions{Platform: platform, Types: r.URL.Query()["type"], Statements: flag(r, "statement")})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(items))
}

func (i imageRoutes) prune(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	ctx, cancel := changing(r)
	defer cancel()
	report, err := i.PruneImages(ctx, f)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
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
	only, err := platformsOf(r, "platforms")
	if err != nil {
		return err
	}
	// noprune is about parents that nothing names: there are none here
	removed, err := i.RemoveImage(ctx, r.PathValue("name"), engine.ImageRemoveOptions{Force: flag(r, "force"), Platforms: only})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(removed))
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
