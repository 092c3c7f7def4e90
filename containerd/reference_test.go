package containerd

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"pgregory.net/rapid"
)

func TestNormalizeReference(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for ref, want := range map[string]string{
		"busybox":                     "docker.io/library/busybox:latest",
		"a/b:1":                       "docker.io/a/b:1",
		"localhost:5000/a":            "localhost:5000/a:latest",
		"example.com/a@" + digest:     "example.com/a@" + digest,
		"example.com/a:1@" + digest:   "example.com/a@" + digest,
		"index.docker.io/library/x:2": "docker.io/library/x:2",
	} {
		got, err := NormalizeReference(ref)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", ref, got, err, want)
		}
	}
	for _, ref := range []string{"", "A", "a b", "a:", ":1", "a@sha256:12", strings.Repeat("a", 64)} {
		if got, err := NormalizeReference(ref); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %q, %v", ref, got, err)
		}
	}
}

// A short ID finds the one ID that it begins, or says why not.
func TestMatchID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hex := rapid.StringMatching(`[0-9a-c]{64}`)
		var ids []string
		for _, h := range rapid.SliceOfN(hex, 0, 20).Draw(t, "ids") {
			ids = append(ids, "sha256:"+h)
		}
		short := rapid.StringMatching(`(sha256:)?[0-9a-c]{1,3}`).Draw(t, "short")
		want := map[string]bool{}
		for _, id := range ids {
			if strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(short, "sha256:")) {
				want[id] = true
			}
		}
		got, err := matchID(short, ids)
		switch {
		case len(want) == 0 && !errdefs.IsNotFound(err),
			len(want) == 1 && (err != nil || !want[got]),
			len(want) > 1 && !errdefs.IsInvalidArgument(err):
			t.Fatalf("%q of %q: %q, %v", short, ids, got, err)
		}
	})
}
