package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestPlanRemoval(t *testing.T) {
	hex := strings.Repeat("a", 64)
	const run, halt = "1111111111111111", "2222222222222222"
	pin := func(repo string) string { return "docker.io/library/" + repo + "@sha256:" + hex }
	tag := func(name string) string { return "docker.io/library/" + name }
	for name, c := range map[string]struct {
		names, pinned []string
		ref           string
		force         bool
		use           imageUse
		want          []string
		keep          bool
		conflict      string
	}{
		"the last name":                {names: []string{tag("a:1")}, ref: "a:1", want: []string{tag("a:1")}},
		"one of several":               {names: []string{tag("a:1"), tag("b:1")}, ref: "a:1", use: imageUse{running: run}, want: []string{tag("a:1")}, keep: true},
		"the last name, running":       {names: []string{tag("a:1")}, ref: "a:1", use: imageUse{running: run}, conflict: `unable to remove repository reference "a:1" (must force) - container 111111111111 is using its referenced image aaaaaaaaaaaa`},
		"the last name, stopped":       {names: []string{tag("a:1")}, ref: "a:1", use: imageUse{stopped: halt}, conflict: "container 222222222222 is using"},
		"forced, running":              {names: []string{tag("a:1")}, ref: "a:1", force: true, use: imageUse{running: run}, want: []string{tag("a:1")}, keep: true},
		"forced, stopped":              {names: []string{tag("a:1")}, ref: "a:1", force: true, use: imageUse{stopped: halt}, want: []string{tag("a:1")}},
		"by ID":                        {names: []string{tag("a:1")}, ref: hex[:12], want: []string{tag("a:1")}},
		"by ID, several":               {names: []string{tag("a:1"), tag("a:2")}, ref: hex, conflict: "(must be forced) - image is referenced in multiple repositories"},
		"by ID, several, forced":       {names: []string{tag("a:1"), tag("b:2")}, ref: hex, force: true, want: []string{tag("a:1"), tag("b:2")}},
		"by ID, running, forced":       {ref: hex, force: true, use: imageUse{running: run}, conflict: "(cannot be forced) - image is being used by running container 111111111111"},
		"by ID, stopped":               {ref: hex, use: imageUse{stopped: halt}, conflict: "(must be forced) - image is being used by stopped container 222222222222"},
		"the last tag of a repository": {names: []string{tag("a:1")}, pinned: []string{pin("a")}, ref: "a:1", want: []string{tag("a:1"), pin("a")}},
		"one of two tags":              {names: []string{tag("a:1"), tag("a:2")}, pinned: []string{pin("a")}, ref: "a:1", want: []string{tag("a:1")}},
		"a digest":                     {names: []string{tag("a:1")}, pinned: []string{pin("a")}, ref: "a@sha256:" + hex, want: []string{pin("a")}},
	} {
		img := &ctd.Image{ID: "sha256:" + hex, Names: c.names, Pinned: c.pinned}
		got, err := planRemoval(img, c.ref, c.force, c.use)
		if c.conflict != "" {
			if !errors.Is(err, errdefs.ErrConflict) || !strings.Contains(err.Error(), c.conflict) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got.Names, c.want) || got.Keep != c.keep {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each layer's size stands beside the instruction that made it.
func TestHistory(t *testing.T) {
	at := time.Unix(1000, 0)
	img := &ctd.Image{ID: "sha256:1", Names: []string{"docker.io/library/a:1"}, Layers: []int64{10, 20, 30}, Created: at, History: []ocispec.History{
		{Created: &at, CreatedBy: "ADD"}, {CreatedBy: "ENV", EmptyLayer: true}, {CreatedBy: "RUN", Comment: "c"},
	}}
	got := history(img)
	if len(got) != 4 || got[0].ID != "sha256:1" || !slices.Equal(got[0].Tags, []string{"a:1"}) || got[0].Size != 30 || got[3].ID != "<missing>" || got[3].Created != 1000 ||
		got[3].Size != 10 || got[2].Size != 0 || got[1].Size != 20 || got[1].Comment != "c" {
		t.Errorf("got %+v", got)
	}
	if got := history(&ctd.Image{}); len(got) != 0 {
		t.Errorf("of an image without layers: %+v", got)
	}
}

// What images share counts once, and for each of them as shared.
func TestImageSizes(t *testing.T) {
	a := &ctd.Image{ID: "a", Parts: []ctd.Part{{Key: "base", Size: 100}, {Key: "a", Size: 1}}}
	b := &ctd.Image{ID: "b", Parts: []ctd.Part{{Key: "base", Size: 100}, {Key: "b", Size: 2}}}
	if got := totalSize([]*ctd.Image{a, b}); got != 103 {
		t.Errorf("together %d", got)
	}
	if got := sharedSizes([]*ctd.Image{a, b}); got["a"] != 100 || got["b"] != 100 {
		t.Errorf("shared %v", got)
	}
	if got := sharedSizes([]*ctd.Image{a}); got["a"] != 0 {
		t.Errorf("alone %v", got)
	}
}
