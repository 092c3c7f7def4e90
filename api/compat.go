package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// The types of the Engine API are those of its newest version. What older
// versions have otherwise stands in three tables: answers, bodies and queries.
// Source: github.com/moby/moby/api, docs/CHANGELOG.md.

// object is a JSON object as it goes over the wire.
type object = map[string]any

// change makes of an endpoint's answer or request what older clients mean.
type change[T any] struct {
	endpoint string     // as the specification writes it
	before   apiVersion // versions older than this have it so
	apply    T
}

// changesOf are those that a request is subject to, in the table's order.
func changesOf[T any](table []change[T], r *http.Request) (out []T) {
	version, endpoint := versionOf(r), endpointOf(r)
	for _, c := range table {
		if c.endpoint == endpoint && !version.atLeast(c.before.major, c.before.minor) {
			out = append(out, c.apply)
		}
	}
	return out
}

// endpointOf names a request's endpoint as the specification does.
func endpointOf(r *http.Request) string {
	prefix, ok := strings.CutSuffix(r.Pattern, "/{name...}")
	if !ok {
		return r.Pattern
	}
	for _, end := range endsOfImages {
		if strings.HasSuffix(r.URL.Path, end) {
			return prefix + "/{name}" + end
		}
	}
	return prefix + "/{name}"
}

// answerFor is v as the version of the request's client has it.
func answerFor(r *http.Request, v any) (any, error) {
	changes := changesOf(answers, r)
	if len(changes) == 0 {
		return v, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var shaped any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&shaped); err != nil {
		return nil, err
	}
	for _, o := range objects(shaped) {
		for _, apply := range changes {
			apply(o)
		}
	}
	return shaped, nil
}

// pythonClient is how the Docker SDK for Python, and Docker Compose before
// version 2 with it, names itself.
var pythonClient = regexp.MustCompile(`\bdocker(?:-sdk-python|-py)/(\d+)\.`)

// offered is the version to name as the newest. The Python SDK takes that one
// without a look at which it knows, and fails on what newer ones left out.
func offered(r *http.Request) apiVersion {
	m := pythonClient.FindStringSubmatch(r.UserAgent())
	if m == nil {
		return newest
	}
	switch major, _ := strconv.Atoi(m[1]); {
	case major < 5:
		return oldest
	case major < 7:
		return apiVersion{1, 41}
	}
	return apiVersion{1, 44}
}

// objects are v itself or the objects of the list that v is.
func objects(v any) []object {
	switch v := v.(type) {
	case object:
		return []object{v}
	case []any:
		out := make([]object, 0, len(v))
		for _, item := range v {
			if o, ok := item.(object); ok {
				out = append(out, o)
			}
		}
		return out
	}
	return nil
}

// bodyFrom is a JSON request as the newest version writes it.
func bodyFrom(r *http.Request, body []byte) ([]byte, error) {
	changes := changesOf(bodies, r)
	if len(changes) == 0 {
		return body, nil
	}
	var o object
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&o) != nil || o == nil || d.More() {
		return body, nil // it is refused where it is decoded
	}
	for _, apply := range changes {
		if err := apply(o); err != nil {
			return nil, err
		}
	}
	return json.Marshal(o)
}

// queryFrom is a request whose parameters are those of the newest version.
func queryFrom(r *http.Request) *http.Request {
	changes := changesOf(queries, r)
	if len(changes) == 0 {
		return r
	}
	q := r.URL.Query()
	for _, apply := range changes {
		apply(q)
	}
	u := *r.URL
	u.RawQuery = q.Encode()
	r = r.WithContext(r.Context())
	r.URL = &u
	return r
}

// addFilter adds to the filters parameter. One that cannot be read stays: it
// is refused where it is.
func addFilter(q url.Values, key, value string) {
	all := map[string]any{}
	if s := q.Get("filters"); s != "" && json.Unmarshal([]byte(s), &all) != nil {
		return
	}
	if _, given := all[key]; given {
		return
	}
	all[key] = []string{value}
	for k, values := range all { // one form for all
		if set, ok := values.(map[string]any); ok {
			names := []string{}
			for name := range set {
				names = append(names, name)
			}
			all[k] = names
		}
	}
	if b, err := json.Marshal(all); err == nil {
		q.Set("filters", string(b))
	}
}

// child is an object inside o, nil when there is none. Reading of nil is fine.
func child(o object, key string) object {
	c, _ := o[key].(object)
	return c
}

// setDefault puts value under key where o has nothing yet.
func setDefault(o object, key string, value any) {
	if _, ok := o[key]; !ok && o != nil {
		o[key] = value
	}
}

// without takes keys out of an object.
func without(keys ...string) func(object) {
	return func(o object) {
		for _, k := range keys {
			delete(o, k)
		}
	}
}

// inside changes an object that stands in another one.
func inside(key string, apply func(object)) func(object) {
	return func(o object) {
		if c := child(o, key); c != nil {
			apply(c)
		}
	}
}
