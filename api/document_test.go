package api

import (
	"bytes"
	"cmp"
	stdflag "flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = stdflag.Bool("update", false, "write docs/engine-api.md anew")

const document = "../docs/engine-api.md"

// docs/engine-api.md says of each endpoint of the specification what the
// router does with it.
func TestDocumentTellsOfEveryEndpoint(t *testing.T) {
	want := endpointsDocument(t)
	if *update {
		if err := os.WriteFile(document, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the router does; write it anew: go test ./api -run Document -update", document)
	}
}

func endpointsDocument(t *testing.T) []byte {
	type endpoint struct{ method, path, tag, summary string }
	var all []endpoint
	for path, methods := range readSpecification(t).Paths {
		for method, about := range methods {
			if method == "parameters" {
				continue
			}
			tag, summary := "", ""
			if tags, _ := about["tags"].([]any); len(tags) > 0 {
				tag = fmt.Sprint(tags[0])
			}
			if s, ok := about["summary"].(string); ok {
				summary = strings.TrimSuffix(strings.TrimSpace(s), ".")
			}
			all = append(all, endpoint{strings.ToUpper(method), path, tag, summary})
		}
	}
	tags := []string{"Container", "Exec", "Image", "Volume", "Network", "System"} // the others follow by name
	rank := func(tag string) int {
		if i := slices.Index(tags, tag); i >= 0 {
			return i
		}
		return len(tags)
	}
	slices.SortFunc(all, func(a, b endpoint) int {
		return cmp.Or(cmp.Compare(rank(a.tag), rank(b.tag)), strings.Compare(a.tag, b.tag), strings.Compare(a.path, b.path), strings.Compare(a.method, b.method))
	})

	var out bytes.Buffer
	fmt.Fprintf(&out, `# The Engine API

Gantry serves versions %s to %s of the Docker Engine API, with and without
the version in the path. This is every endpoint of the specification
(github.com/moby/moby/api, swagger.yaml): **done**, or **501**, which is also the
status that it answers with, and its name. A test compares this page with the
router; `+"`go test ./api -run Document -update`"+` writes it.

What older versions have otherwise stands in three tables, in `+"`api/compat_*.go`"+`.
Differences from Docker that are meant are in [differences.md](differences.md).
`, oldest, newest)
	h := newHandler(refusing(), "")
	last := "-"
	done := 0
	for _, e := range all {
		if e.tag != last {
			fmt.Fprintf(&out, "\n## %s\n\n| endpoint | | what it is |\n|---|---|---|\n", e.tag)
			last = e.tag
		}
		state := "**501**"
		if asksRouter(h, e.method, e.path) != http.StatusNotImplemented {
			state, done = "done", done+1
		}
		fmt.Fprintf(&out, "| `%s %s` | %s | %s |\n", e.method, e.path, state, e.summary)
	}
	fmt.Fprintf(&out, "\n%d of %d endpoints are done.\n", done, len(all))
	return out.Bytes()
}

// asksRouter is the status of an endpoint over backends that refuse all.
func asksRouter(h http.Handler, method, path string) int {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, strings.NewReplacer("{id}", "x", "{name}", "x").Replace(path), strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	return w.Code
}
