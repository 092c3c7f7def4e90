package api

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
	"time"

	"gantry/engine"

	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/events"
)

// eventSource tells what happens.
type eventSource interface {
	Events(ctx context.Context, since, until time.Time, f engine.Filters) (<-chan events.Message, error)
}

type eventRoutes struct{ eventSource }

func (e eventRoutes) routes() []route {
	return []route{{"GET /events", e.events}}
}

func (e eventRoutes) events(w http.ResponseWriter, r *http.Request) error {
	since, err := instant(r, "since")
	if err != nil {
		return err
	}
	until, err := instant(r, "until")
	if err != nil {
		return err
	}
	if !until.IsZero() && until.Before(since) {
		return badRequest("`since` (%s) cannot be after `until` (%s)", since.Format(time.RFC3339Nano), until.Format(time.RFC3339Nano))
	}
	f, err := filters(r)
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	messages, err := e.Events(ctx, since, until, f)
	if err != nil {
		return err
	}
	mediaType := eventsType(r)
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	control.Flush()
	for m := range messages {
		if !knowsEvent(versionOf(r), m) {
			continue
		}
		shaped, err := answerFor(r, m)
		if err != nil {
			return err
		}
		line, err := json.Marshal(shaped)
		if err != nil {
			return err
		}
		if mediaType == types.MediaTypeJSONSequence {
			line = append([]byte{0x1e}, line...) // RFC 7464
		}
		if _, err := w.Write(append(line, '\n')); err != nil || control.Flush() != nil {
			return nil
		}
	}
	return nil
}

// eventsType is the first of the client's media types that we speak. Source:
// Engine API 1.52, GET /events.
func eventsType(r *http.Request) string {
	if versionOf(r).atLeast(1, 52) {
		for _, accepted := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
			switch mt, _, _ := mime.ParseMediaType(strings.TrimSpace(accepted)); mt {
			case types.MediaTypeJSONLines, types.MediaTypeNDJSON, types.MediaTypeJSONSequence:
				return mt
			}
		}
	}
	return types.MediaTypeJSON
}
