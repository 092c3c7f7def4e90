package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/engine"
)

// maxBody bounds a JSON request: a large project with inlined files fits.
const maxBody = 32 << 20

// decode fills v from a JSON body. A body of another type is refused: a web
// page could make a browser send one without asking.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	if err := requireJSON(r); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return badRequest("read the request's body: %w", err)
	}
	if body, err = bodyFrom(r, body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(v); errors.Is(err, io.EOF) {
		return badRequest("invalid JSON: the request's body is empty")
	} else if err != nil {
		return badRequest("invalid JSON: %w", err)
	}
	if dec.More() {
		return badRequest("invalid JSON: content after the first value")
	}
	return nil
}

// decodeOptional is decode for requests that may come without a body.
func decodeOptional(w http.ResponseWriter, r *http.Request, v any) error {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	return decode(w, r, v)
}

func requireJSON(r *http.Request) error {
	given := r.Header.Get("Content-Type")
	if mediaType, _, err := mime.ParseMediaType(given); err != nil || mediaType != "application/json" {
		return badRequest(`unsupported Content-Type header (%s): must be "application/json"`, given)
	}
	return nil
}

// flag reads a boolean parameter as the Engine API does: anything but "", 0,
// no, false and none is true.
func flag(r *http.Request, name string) bool {
	switch strings.ToLower(strings.TrimSpace(r.URL.Query().Get(name))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// number reads a whole number, 0 when the parameter is not given.
func number(r *http.Request, name string) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, badRequest("parameter %q: %q is not a number", name, s)
	}
	return n, nil
}

// size reads the h and w parameters of a terminal.
func size(r *http.Request) (height, width uint, err error) {
	h, err := strconv.ParseUint(r.URL.Query().Get("h"), 10, 16)
	if err != nil {
		return 0, 0, badRequest("parameter \"h\": %q is not a height", r.URL.Query().Get("h"))
	}
	w, err := strconv.ParseUint(r.URL.Query().Get("w"), 10, 16)
	if err != nil {
		return 0, 0, badRequest("parameter \"w\": %q is not a width", r.URL.Query().Get("w"))
	}
	return uint(h), uint(w), nil
}

// instant reads a time: seconds since 1970 with an optional fraction, or
// RFC 3339. The zero time when the parameter is not given or 0.
func instant(r *http.Request, name string) (time.Time, error) {
	s := r.URL.Query().Get(name)
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	seconds, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, badRequest("parameter %q: %q is not a time", name, s)
	}
	var nanos int64
	if fraction != "" {
		fraction = (fraction + "000000000")[:max(9, len(fraction))]
		if nanos, err = strconv.ParseInt(fraction[:9], 10, 64); err != nil || nanos < 0 {
			return time.Time{}, badRequest("parameter %q: %q is not a time", name, s)
		}
	}
	return time.Unix(sec, nanos), nil
}

// filters reads the filters parameter: JSON of {"key": {"value": true}}, or of
// {"key": ["value"]} as old clients send it. Which keys there are is for the
// engine to say.
func filters(r *http.Request) (engine.Filters, error) {
	s := r.URL.Query().Get("filters")
	if s == "" {
		return nil, nil
	}
	out := engine.Filters{}
	var sets map[string]map[string]bool
	if err := json.Unmarshal([]byte(s), &sets); err == nil {
		for key, values := range sets {
			out[key] = slices.Sorted(maps.Keys(values))
		}
	} else if json.Unmarshal([]byte(s), &out) != nil {
		return nil, badRequest("invalid filters %q: %w", s, err)
	}
	maps.DeleteFunc(out, func(_ string, values []string) bool { return len(values) == 0 })
	return out, nil
}
