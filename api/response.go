package api

import (
	"encoding/json"
	"net/http"
)

// writeJSON answers with v, in the shape that the client's version has.
func writeJSON(w http.ResponseWriter, status int, v any) (err error) {
	if t, ok := w.(*tracked); ok && status < http.StatusBadRequest {
		if v, err = answerFor(t.asked, v); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return writeBody(w, v)
}

// writeBody writes v as one line of JSON.
func writeBody(w http.ResponseWriter, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// list is never null in JSON.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
