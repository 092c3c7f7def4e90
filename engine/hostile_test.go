package engine

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"gantry/volumes"

	"github.com/containerd/errdefs"
	"github.com/moby/locker"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

// A container may make its /etc/hosts as large as it likes: nobody reads that.
func TestOwnFilesAreNotReadWhole(t *testing.T) {
	dir := t.TempDir()
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	grow := func(path string) {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 1<<30); err != nil {
			t.Fatal(err)
		}
	}
	grow(hosts)
	grow(resolv)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	e := &Engine{ctx: t.Context()}
	c := newCtr(record{ID: "id", Name: "n"}, state{}, dir)
	if err := e.editFiles(c, &record{}, nil, map[string]*mobynet.EndpointSettings{}, true); err != nil {
		t.Errorf("telling it of other addresses: %v", err)
	}
	if err := writeInPlace(resolv, []byte("x")); err != nil {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("it took %d bytes of memory", got)
	}
	if b, err := os.ReadFile(resolv); err != nil || string(b) != "x" {
		t.Errorf("written anew it holds %d bytes, %v", len(b), err)
	}
}

// Whoever attaches to a container that never starts, and leaves, leaves nothing.
func TestLeftAttachmentsAreForgotten(t *testing.T) {
	c := newCtr(record{ID: "0123456789ab", Name: "n"}, state{Status: container.StateCreated}, t.TempDir())
	e := &Engine{bus: newBus(), containers: map[string]*ctr{c.id: c}}
	for range 100 {
		s, err := e.AttachContainer(t.Context(), c.id)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if n := len(c.pending); n > 1 {
		t.Errorf("%d attachments are kept", n)
	}
}

// A volume stays while a container is being made with it.
func TestVolumesOfAContainerInTheMaking(t *testing.T) {
	store, err := volumes.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{bus: newBus(), volumes: store, mounting: map[string]*record{}, exclusives: locker.New()}
	if _, _, err := e.makeVolume(volumes.Volume{Name: "data"}); err != nil {
		t.Fatal(err)
	}
	release := e.holdVolumes(&record{ID: "id", Mounts: []volumes.Point{{Name: "data"}}})
	if err := e.RemoveVolume(t.Context(), "data", true); !errdefs.IsConflict(err) {
		t.Errorf("removing it: %v", err)
	}
	all := Filters{"all": {"true"}}
	if got, err := e.PruneVolumes(t.Context(), all); err != nil || len(got.VolumesDeleted) != 0 {
		t.Errorf("pruned %v, %v", got, err)
	}
	release()
	if got, err := e.PruneVolumes(t.Context(), all); err != nil || len(got.VolumesDeleted) != 1 {
		t.Errorf("afterwards pruned %v, %v", got, err)
	}
}
