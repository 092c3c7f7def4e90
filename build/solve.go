package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	solverrors "github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
)

// sessionPatience is how long a build waits for its session to be opened.
const sessionPatience = 30 * time.Second

// Request is one image to build.
type Request struct {
	ID      string // by which BuildKit tells its progress
	Session string // has the contexts, secrets and credentials
	Names   []string
	// Attrs are the Dockerfile frontend's. Source: buildkit, frontend/dockerui.
	Attrs              map[string]string
	CacheFrom, CacheTo []Cache
	Entitlements       []string
}

// Cache is where steps' results are taken from or put. Directories are the
// client's: its session has them.
type Cache struct {
	Type  string // registry, local, inline
	Attrs map[string]string
}

// WithInline adds a cache within the image, if the argument
// BUILDKIT_INLINE_CACHE says so. Source: buildx.
func WithInline(list []Cache, argument string) []Cache {
	on, err := strconv.ParseBool(argument)
	if err != nil || !on || slices.ContainsFunc(list, func(c Cache) bool { return c.Type == "inline" }) {
		return list
	}
	return append(list, Cache{Type: "inline", Attrs: map[string]string{}})
}

// Solve builds an image into the image store. It returns when nothing of the
// build runs any more, also when ctx ends. step is called with the name of each
// step that begins; it must not block. The error of a step that failed names the step
// and shows its place in the Dockerfile and its last output.
func (b *Builder) Solve(ctx context.Context, r Request, step func(name string)) error {
	ctx = log.WithLogger(namespaces.WithNamespace(ctx, b.namespace), quietLog())
	waiting, cancel := context.WithTimeout(ctx, sessionPatience)
	_, err := b.sessions.Get(waiting, r.Session, false)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("whoever asked for the build opened no session for its context within %s: %w", sessionPatience, errdefs.ErrUnavailable)
	}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	t := newTail()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		b.watch(watching, r.ID, func(s *client.SolveStatus) { t.add(s); begun(s, step) })
	}()
	attrs := maps.Clone(r.Attrs)
	if len(r.CacheFrom) > 0 { // the frontend takes them while it makes its steps
		all, err := json.Marshal(r.CacheFrom)
		if err != nil {
			return err
		}
		attrs["cache-imports"] = string(all)
	}
	_, err = b.control.Solve(ctx, &controlapi.SolveRequest{
		Ref: r.ID, Session: r.Session, Frontend: "dockerfile.v0", FrontendAttrs: attrs, Entitlements: r.Entitlements,
		Exporters: []*controlapi.Exporter{{Type: exporterMoby, Attrs: map[string]string{"name": strings.Join(r.Names, ",")}}},
		Cache:     &controlapi.CacheOptions{Exports: cacheOptions(r.CacheTo)},
	})
	forgetRegistries(err)
	if err == nil || ctx.Err() != nil {
		return errors.Join(context.Cause(ctx))
	}
	select { // the rest of the output
	case <-watched:
	case <-time.After(time.Second):
	}
	return t.explain(err)
}

// begun tells of the steps that begin, but for BuildKit's own.
func begun(s *client.SolveStatus, step func(name string)) {
	for _, v := range s.Vertexes {
		if v.Started != nil && v.Completed == nil && !strings.HasPrefix(v.Name, "[internal]") {
			step(v.Name)
		}
	}
}

// watch tells of a build's progress until its end.
func (b *Builder) watch(ctx context.Context, id string, status func(*client.SolveStatus)) {
	stream, err := b.client.ControlClient().Status(ctx, &controlapi.StatusRequest{Ref: id})
	for err == nil {
		var s *controlapi.StatusResponse
		if s, err = stream.Recv(); err == nil {
			status(client.NewSolveStatus(s))
		}
	}
}

func cacheOptions(list []Cache) []*controlapi.CacheOptionsEntry {
	var out []*controlapi.CacheOptionsEntry
	for _, c := range list {
		out = append(out, &controlapi.CacheOptionsEntry{Type: c.Type, Attrs: c.Attrs})
	}
	return out
}

// tailLines and tailBytes are how much of a failed step's output is part of the
// error.
const tailLines, tailBytes = 20, 16 << 10

// tail keeps what a failed step said last.
type tail struct {
	output map[digest.Digest]string
	failed *client.Vertex
}

func newTail() *tail { return &tail{output: map[digest.Digest]string{}} }

func (t *tail) add(s *client.SolveStatus) {
	for _, l := range s.Logs {
		text := t.output[l.Vertex] + string(l.Data)
		if lines := strings.SplitAfter(text, "\n"); len(lines) > tailLines {
			text = strings.Join(lines[len(lines)-tailLines-1:], "")
		}
		if cut := len(text) - tailBytes; cut > 0 {
			text = strings.ToValidUTF8(text[cut:], "")
		}
		t.output[l.Vertex] = text
	}
	for _, v := range s.Vertexes {
		if v.Error != "" && !strings.Contains(v.Error, context.Canceled.Error()) {
			t.failed = v
		}
	}
}

// explain adds to a build's error what its user needs.
func (t *tail) explain(err error) error {
	var text strings.Builder
	if t.failed != nil && !strings.Contains(err.Error(), t.failed.Name) {
		fmt.Fprintf(&text, "%s: ", t.failed.Name)
	}
	text.WriteString(strings.TrimPrefix(err.Error(), "failed to solve: "))
	for _, s := range solverrors.Sources(err) {
		var shown strings.Builder
		if s.Print(&shown) == nil {
			text.WriteString("\n" + strings.Trim(strings.ReplaceAll(shown.String(), "--------------------\n", ""), "\n"))
		}
	}
	if t.failed != nil {
		if out := strings.TrimRight(t.output[t.failed.Digest], "\n"); out != "" {
			fmt.Fprintf(&text, "\nlast output:\n  %s", strings.ReplaceAll(out, "\n", "\n  "))
		}
	}
	return fmt.Errorf("%s: %w", text.String(), errClass(err))
}

// errClass is what kind of failure it is to who asked.
func errClass(err error) error {
	if errdefs.IsNotFound(err) {
		return errdefs.ErrNotFound
	}
	return errdefs.ErrInvalidArgument
}
