package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types"
	buildtypes "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/jsonstream"
)

// imageBuilder builds images on behalf of clients that send their context.
type imageBuilder interface {
	BuildClassic(ctx context.Context, o engine.ClassicBuild) (imageID string, err error)
	UploadContext(ctx context.Context, id string, body io.Reader) error
	CancelBuild(id string)
	PruneBuildCache(ctx context.Context, f engine.Filters, rules engine.CacheRules) (buildtypes.CachePruneReport, error)
}

type imageBuildRoutes struct{ imageBuilder }

func (b imageBuildRoutes) routes() []route {
	return []route{
		{"POST /build", b.build},
		{"POST /build/cancel", b.cancel},
		{"POST /build/prune", b.prune},
	}
}

// uploadPrefix marks the ID in a request that brings another one's context.
const uploadPrefix = "upload-request:"

func (b imageBuildRoutes) build(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := streaming(r)
	defer cancel()
	if err := whileReading(w); err != nil {
		return err
	}
	if id, ok := strings.CutPrefix(r.URL.Query().Get("buildid"), uploadPrefix); ok {
		return b.UploadContext(ctx, id, r.Body)
	}
	o, err := classicBuild(r)
	if err != nil {
		return err
	}
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	if r.URL.Query().Get("version") == string(buildtypes.BuilderBuildKit) {
		return b.traced(ctx, o, out)
	}
	return b.classic(ctx, o, flag(r, "q"), out)
}

// classic answers as the classic builder did.
func (b imageBuildRoutes) classic(ctx context.Context, o engine.ClassicBuild, quiet bool, out *outbox) error {
	say := func(text string) { out.put(jsonstream.Message{Stream: text}) }
	var kept strings.Builder // of a quiet build, until it fails
	o.Log = say
	if quiet {
		o.Log = func(text string) { kept.WriteString(text) }
	}
	id, err := b.BuildClassic(ctx, o)
	if err != nil {
		if kept.Len() > 0 {
			say(kept.String())
		}
		return out.failBuild(err)
	}
	switch {
	case id == "":
	case quiet:
		say(id + "\n")
	default:
		out.aux(buildtypes.Result{ID: id})
		_, hex, _ := strings.Cut(id, ":")
		say("Successfully built " + hex[:min(12, len(hex))] + "\n")
		for _, name := range o.Tags {
			say("Successfully tagged " + name + "\n")
		}
	}
	return nil
}

// traced answers with BuildKit's own progress, which the client displays.
func (b imageBuildRoutes) traced(ctx context.Context, o engine.ClassicBuild, out *outbox) error {
	o.Trace = func(progress []byte) { out.auxOf("moby.buildkit.trace", progress) }
	id, err := b.BuildClassic(ctx, o)
	if err != nil {
		return out.failBuild(err)
	}
	if id != "" {
		out.auxOf("moby.image.id", buildtypes.Result{ID: id})
	}
	return nil
}

func (o *outbox) auxOf(id string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return // our own types marshal
	}
	raw := json.RawMessage(data)
	o.put(jsonstream.Message{ID: id, Aux: &raw})
}

// failBuild is fail, with the exit code of a step.
func (o *outbox) failBuild(err error) error {
	var step *engine.BuildFailure
	if !o.begun() || !errors.As(err, &step) || step.Code == 0 {
		return o.fail(err)
	}
	o.put(failure{Error: messageOf(err), Detail: &jsonstream.Error{Code: step.Code, Message: messageOf(err)}})
	return nil
}

func (b imageBuildRoutes) cancel(_ http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("id")
	if id == "" {
		return badRequest("build ID not provided")
	}
	b.CancelBuild(id)
	return nil
}

func (b imageBuildRoutes) prune(w http.ResponseWriter, r *http.Request) error {
	f, err := filters(r)
	if err != nil {
		return err
	}
	rules := engine.CacheRules{All: flag(r, "all")}
	for name, to := range map[string]*int64{
		"keep-storage": &rules.ReservedSpace, "reserved-space": &rules.ReservedSpace, "max-used-space": &rules.MaxUsedSpace, "min-free-space": &rules.MinFreeSpace,
	} {
		n, err := number(r, name)
		if err != nil {
			return err
		}
		if n < 0 {
			return badRequest("parameter %q: %d is negative", name, n)
		}
		if n != 0 {
			*to = int64(n)
		}
	}
	ctx, cancel := changing(r)
	defer cancel()
	report, err := b.PruneBuildCache(ctx, f, rules)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}

// tagsOf are the names that an image gets, as people write them: with a tag.
func tagsOf(r *http.Request) ([]string, error) {
	var out []string
	for _, t := range r.URL.Query()["t"] {
		if t == "" {
			continue
		}
		ref, err := reference.ParseNormalizedNamed(t)
		if err != nil {
			return nil, badRequest("invalid reference format: %q: %w", t, err)
		}
		if _, pinned := ref.(reference.Digested); pinned {
			return nil, badRequest("build tag %q cannot contain a digest", t)
		}
		out = append(out, reference.FamiliarString(reference.TagNameOnly(ref)))
	}
	return out, nil
}

func unsupported(r *http.Request, names ...string) error {
	for _, name := range names {
		if flag(r, name) {
			return fmt.Errorf("parameter %q=%q is not supported in builds: %w", name, r.URL.Query().Get(name), errdefs.ErrNotImplemented)
		}
	}
	return nil
}
