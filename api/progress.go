package api

import (
	"strings"

	"gantry/engine"

	"github.com/moby/moby/api/types/jsonstream"
)

// failure is a stream's last line when it failed. Error stands there too for
// clients older than API 1.52.
type failure struct {
	Error  string            `json:"error"`
	Detail *jsonstream.Error `json:"errorDetail"`
}

// progress sends how far an image is.
func (o *outbox) progress(p engine.Progress) {
	m := jsonstream.Message{ID: p.ID, Status: p.Status}
	if p.ID != "" { // also empty: by it clients tell a line that others overwrite
		m.Progress = &jsonstream.Progress{}
	}
	// clients print a step's end as a line of its own, but not how far one is
	ended := strings.HasSuffix(p.Status, "complete") || strings.HasSuffix(p.Status, "exists")
	if !ended && (p.Current != 0 || p.Total != 0) {
		m.Progress = &jsonstream.Progress{Current: p.Current, Total: p.Total}
		o.hint(m)
		return
	}
	o.put(m)
}

// fail ends the stream with an error; one that has not begun gets a status
// instead.
func (o *outbox) fail(err error) error {
	if !o.begun() {
		return err
	}
	o.put(failure{Error: messageOf(err), Detail: &jsonstream.Error{Code: statusOf(err), Message: messageOf(err)}})
	return nil
}
