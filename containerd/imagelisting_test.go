package containerd

import (
	"fmt"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"
)

func onPlatform(name string, p ocispec.Platform) *Image {
	d := ocispec.Descriptor{Digest: digest.FromString("manifest " + name), Platform: &p, Size: 1}
	img := &Image{ID: digest.FromString(name).String(), Target: d.Digest.String(), Descriptor: d, descriptor: d, OS: p.OS, Architecture: p.Architecture}
	img.Parts = []Part{{"own " + name, 10}, {"shared", 5}}
	return img
}

// Whatever names, targets and platforms there are: each name, target and ID is
// found, and is what it says.
func TestListingFindsAllThatIsHere(t *testing.T) {
	architectures := []string{"amd64", "arm64", "s390x"}
	rapid.Check(t, func(t *rapid.T) {
		var made []*Image
		for i := range 4 {
			made = append(made, onPlatform(fmt.Sprint(i), ocispec.Platform{OS: "linux", Architecture: architectures[i%3]}))
		}
		var targets []*target
		names := map[string]*target{}
		for i := range rapid.IntRange(0, 5).Draw(t, "targets") {
			x := &target{desc: ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint("target ", i))}, beside: []Part{{fmt.Sprint("index ", i), 1}}}
			x.here = slices.Clone(rapid.SliceOfNDistinct(rapid.SampledFrom(made), 1, 3, func(m *Image) string { return m.ID }).Draw(t, "platforms"))
			sortForHost(x.here)
			for j := range rapid.IntRange(1, 3).Draw(t, "names") {
				name := []string{fmt.Sprintf("docker.io/library/x%d:%d", i, j), fmt.Sprintf("reg.example/y%d@%s", i, x.desc.Digest), danglingPrefix + x.desc.Digest.String()}[j]
				x.records = append(x.records, images.Image{Name: name, Target: x.desc})
				names[name] = x
			}
			targets = append(targets, x)
		}
		l := newListing(slices.Clone(targets))
		seen := map[string]bool{}
		for _, img := range l.all {
			if seen[img.ID] {
				t.Fatalf("%s is listed twice", img.ID)
			}
			seen[img.ID] = true
			if len(img.Platforms) == 0 || img.Platforms[0].ID != img.ID || !slices.Contains(img.IDs(), img.ID) {
				t.Fatalf("%s has platforms %v", img.ID, img.IDs())
			}
			parts := partSet{}
			parts.add(img.Parts)
			if img.Size != parts.size || len(parts.list) != len(img.Parts) {
				t.Fatalf("%d bytes for parts %v", img.Size, img.Parts)
			}
		}
		for name, x := range names {
			img := l.byName[name]
			if img == nil || img.Target != x.desc.Digest.String() || img.ID != x.here[0].ID || len(img.Platforms) != len(x.here) {
				t.Fatalf("%q is %+v", name, img)
			}
			if !seen[img.ID] {
				t.Fatalf("%q stands for %s, which is not listed", name, img.ID)
			}
		}
		for _, x := range targets {
			for _, p := range x.here {
				img, err := l.find(p.ID)
				if err != nil || img.ID != p.ID {
					t.Fatalf("%s is found as %+v, %v", p.ID, img, err)
				}
				if seen[p.ID] != (len(img.Platforms) > 0) {
					t.Fatalf("%s stands for an image: %v, has platforms %v", p.ID, seen[p.ID], img.IDs())
				}
			}
			if img, err := l.find(x.desc.Digest.String()); err != nil || img.Target != x.desc.Digest.String() {
				t.Fatalf("target %s is found as %+v, %v", x.desc.Digest, img, err)
			}
		}
	})
}

func TestWhatIsPushed(t *testing.T) {
	host := platforms.Normalize(platforms.DefaultSpec())
	own, arm, other := onPlatform("own", host), onPlatform("arm", ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v5"}), onPlatform("other", ocispec.Platform{OS: "linux", Architecture: "s390x"})
	power := onPlatform("power", ocispec.Platform{OS: "linux", Architecture: "ppc64le"})
	index := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromString("index")}
	variants := func(available ...*Image) (out []Variant) {
		for _, img := range []*Image{own, arm, other} {
			out = append(out, Variant{Descriptor: img.descriptor, Available: slices.Contains(available, img)})
		}
		return append(out, Variant{Descriptor: ocispec.Descriptor{Digest: digest.FromString("attestation")}, Attestation: true, Available: len(available) == 3})
	}
	for name, c := range map[string]struct {
		here     []*Image
		platform string
		want     ocispec.Descriptor
		instead  bool
		missing  int
		fails    func(error) bool
	}{
		"all":                    {here: []*Image{own, arm, other}, want: index},
		"one of all":             {here: []*Image{own, arm, other}, platform: "linux/s390x", want: other.descriptor},
		"variant":                {here: []*Image{own, arm, other}, platform: "linux/arm/v5", want: arm.descriptor},
		"no such variant":        {here: []*Image{own, arm, other}, platform: "linux/arm/v7", fails: errdefs.IsNotFound},
		"no platform":            {here: []*Image{own}, platform: "a/b/c/d", fails: errdefs.IsInvalidArgument},
		"the host's":             {here: []*Image{own}, want: own.descriptor, instead: true, missing: 3},
		"the host's of two":      {here: []*Image{own, other}, want: own.descriptor, instead: true, missing: 2},
		"another":                {here: []*Image{other}, want: other.descriptor, instead: true, missing: 3},
		"two others":             {here: []*Image{power, other}, fails: errdefs.IsConflict},
		"one that is not here":   {here: []*Image{own}, platform: "linux/s390x", fails: errdefs.IsNotFound},
		"one of two that are it": {here: []*Image{power, other}, platform: "linux/s390x", want: other.descriptor},
	} {
		img := *c.here[0]
		img.Descriptor, img.Platforms = index, c.here
		got, err := choosePush(&img, variants(c.here...), "x:1", c.platform)
		if c.fails != nil {
			if !c.fails(err) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		if err != nil || got.target.Digest != c.want.Digest || (got.index != nil) != c.instead || len(got.missing) != c.missing {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
