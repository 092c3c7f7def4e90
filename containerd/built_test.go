package containerd_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"gantry/tests/busybox"
)

// What a step has left becomes the image's file system under another name; where
// that cannot be, the image is unpacked.
func TestUnpackBuilt(t *testing.T) {
	for name, test := range map[string]struct{ key, want string }{
		"what a step has left":         {"left", "of the step"},
		"what is gone":                 {"nowhere", "of the layer"},
		"what has not all layers":      {"base", "of the layer"},
		"what nobody says anything of": {"", "of the layer"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			ctx := namespaces.WithNamespace(h.ctx, h.Namespace())
			img := h.load("built", busybox.Layer(busybox.File{Path: "/extra", Body: "of the layer"}))
			sn := h.Client().SnapshotService(h.Snapshotter())
			info, err := sn.Stat(ctx, img.ChainID)
			h.must(err)
			base := info.Parent
			kept := snapshots.WithLabels(map[string]string{"containerd.io/gc.root": time.Now().UTC().Format(time.RFC3339)})
			mounts, err := sn.Prepare(ctx, "step", base, kept)
			h.must(err)
			h.must(mount.WithTempMount(ctx, mounts, func(root string) error {
				return os.WriteFile(filepath.Join(root, "extra"), []byte("of the step"), 0o644)
			}))
			h.must(sn.Commit(ctx, "left", "step", kept))
			h.must(sn.Remove(ctx, img.ChainID))

			built := map[string]string{}
			if key := strings.Replace(test.key, "base", base, 1); key != "" {
				built[img.ChainID] = key
			}
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() { h.must(h.UnpackBuilt(h.ctx, img.Target, built)) })
			}
			all.Wait()
			h.create("x", "", "built", "true")
			if got := h.read("x", "extra"); got != test.want {
				t.Errorf("the image has %q", got)
			}
			h.must(h.DeleteContainer(h.ctx, "x"))
			again, err := h.Image(h.ctx, "built")
			h.must(err)
			if len(again.Layers) != 2 || again.Unpacked != again.Layers[0]+again.Layers[1] || again.Layers[1] == 0 {
				t.Errorf("its layers are of %d bytes, of %d", again.Layers, again.Unpacked)
			}
			// the cache lets go of it
			info, err = sn.Stat(ctx, "left")
			h.must(err)
			delete(info.Labels, "containerd.io/gc.root")
			_, err = sn.Update(ctx, info, "labels")
			h.must(err)
			want := []string{"left", base, img.ChainID}
			if test.key != "left" {
				want = want[1:]
			}
			slices.Sort(want)
			_, err = sn.Prepare(ctx, "somebody else's", "")
			h.must(err)
			h.must(sn.Remove(ctx, "somebody else's"))
			h.until("what nobody needs is collected", func() bool {
				got, err := h.Snapshots(h.ctx)
				h.must(err)
				return slices.Equal(got, want)
			})
		})
	}
}
