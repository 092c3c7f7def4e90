package build

import (
	"strings"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// Steps that run at the same time are shown one after the other, and what is
// no step is not shown.
func TestClassicLogKeepsStepsApart(t *testing.T) {
	var out strings.Builder
	l := NewClassicLog(func(s string) { out.WriteString(s) })
	now := time.Now()
	vertex := func(name string, ended, cached bool) *client.SolveStatus {
		v := &client.Vertex{Digest: digest.FromString(name), Name: name, Started: &now, Cached: cached}
		if ended {
			v.Completed = &now
		}
		return &client.SolveStatus{Vertexes: []*client.Vertex{v}}
	}
	said := func(name, text string) *client.SolveStatus {
		return &client.SolveStatus{Logs: []*client.VertexLog{{Vertex: digest.FromString(name), Data: []byte(text)}}}
	}
	for _, s := range []*client.SolveStatus{
		vertex("[internal] load build definition", true, false), said("[internal] load build definition", "not shown"),
		vertex("[a 1/2] FROM x", true, true),
		vertex("[a 2/2] RUN one", false, false), vertex("[b 2/3] RUN two", false, false),
		said("[b 2/3] RUN two", "of two\n"), said("[a 2/2] RUN one", "of one\n"),
		vertex("[b 2/3] RUN two", true, false), said("[a 2/2] RUN one", "more of one\n"), vertex("[a 2/2] RUN one", true, false),
		{Warnings: []*client.VertexWarning{{Short: []byte("of the Dockerfile")}}},
		vertex("[b 3/3] RUN three", false, false), said("[b 3/3] RUN three", "broken"),
	} {
		l.Add(s)
	}
	l.Close()
	want := "Step 1/2 : FROM x\n ---> Using cache\nStep 2/2 : RUN one\nof one\nmore of one\nStep 2/3 : RUN two\nof two\n[Warning] of the Dockerfile\nStep 3/3 : RUN three\nbroken"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestSyntaxThatIsBuiltIn(t *testing.T) {
	for image, want := range map[string]bool{
		"docker/dockerfile:1": true, "docker/dockerfile": true, "docker.io/docker/dockerfile:1.7": true, "docker/dockerfile:1.7.1": true, "docker/dockerfile:latest": true,
		"docker/dockerfile:1-labs": false, "docker/dockerfile:2": false, "docker/dockerfile-upstream:1": false, "reg.example/docker/dockerfile:1": false,
		"docker/dockerfile:1@" + digest.FromString("").String(): false, "": false, "UPPER": false,
	} {
		if got := isBuiltIn(image); got != want {
			t.Errorf("%q: %v", image, got)
		}
	}
}

func TestCacheFilters(t *testing.T) {
	for _, tc := range []struct {
		f    map[string][]string
		want string
		fail bool
	}{
		{f: nil},
		{f: map[string][]string{"id": {"abc"}, "until": {"24h"}}, want: `id~="^abc"`},
		{f: map[string][]string{"type": {"regular"}}, want: `type=="regular"`},
		{f: map[string][]string{"shared": {"false"}}, want: "private"},
		{f: map[string][]string{"until": {"yesterday"}}, fail: true},
		{f: map[string][]string{"until": {"1h", "2h"}}, fail: true},
		{f: map[string][]string{"color": {"red"}}, fail: true},
	} {
		r, err := FilterRules(tc.f)
		if (err != nil) != tc.fail || !tc.fail && strings.Join(r.Filters, "|") != tc.want {
			t.Errorf("%v: %+v, %v", tc.f, r, err)
		}
		if tc.f["until"] != nil && !tc.fail && r.Unused != 24*time.Hour {
			t.Errorf("%v: %v", tc.f, r.Unused)
		}
	}
}
