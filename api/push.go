package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"gantry/engine"

	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
)

// imagePusher brings images out.
type imagePusher interface {
	PushImage(ctx context.Context, ref, platform string, auth engine.Auth, progress func(engine.Progress), pushed func(engine.PushedImage)) error
}

// pushed is what a push's stream says when a tag is in the registry.
type pushed struct {
	Tag    string
	Digest string
	Size   int64
}

// push answers with the engine's progress; an error is the stream's last line.
func (i imageRoutes) push(w http.ResponseWriter, r *http.Request, name string) error {
	ref, err := pullReference(name, r.URL.Query().Get("tag"))
	if err != nil {
		return err
	}
	platform, err := platformOf(r, "platform")
	if err != nil {
		return err
	}
	auth, err := registryAuth(r.Header.Get(registry.AuthHeader))
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	out.put(jsonstream.Message{Status: "The push refers to repository [" + ref.Name() + "]"})
	err = i.PushImage(ctx, ref.String(), platform, auth, out.progress, func(p engine.PushedImage) {
		if p.Instead != nil {
			out.aux(p.Instead)
		}
		out.put(jsonstream.Message{Status: fmt.Sprintf("%s: digest: %s size: %d", p.Tag, p.Target.Digest, p.Target.Size)})
		out.aux(pushed{p.Tag, p.Target.Digest.String(), p.Target.Size})
	})
	if err != nil {
		return out.fail(err)
	}
	return nil
}

// aux sends what programs read beside the lines for people.
func (o *outbox) aux(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // our own types marshal
	}
	raw := json.RawMessage(b)
	o.put(jsonstream.Message{Aux: &raw})
}
