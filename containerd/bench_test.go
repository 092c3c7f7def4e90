package containerd_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"gantry/containerd"
	"gantry/tests/busybox"
)

func benchRuntime(b *testing.B) (*containerd.Runtime, containerd.Config) {
	b.Helper()
	dir := b.TempDir()
	cfg := containerd.Config{Root: filepath.Join(dir, "r"), State: fmt.Sprintf("/run/gtb%d", unix.Getpid()), ShimPath: shimPath}
	b.Cleanup(func() { os.RemoveAll(cfg.State) })
	r, err := containerd.Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	var a bytes.Buffer
	if err := busybox.Archive(&a, "busybox"); err != nil {
		b.Fatal(err)
	}
	if _, err := r.Load(context.Background(), &a, containerd.LoadOptions{}); err != nil {
		b.Fatal(err)
	}
	return r, cfg
}

func BenchmarkOpen(b *testing.B) {
	r, cfg := benchRuntime(b)
	for b.Loop() {
		if err := r.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		var err error
		if r, err = containerd.Open(context.Background(), cfg); err != nil {
			b.Fatal(err)
		}
	}
	r.Close(context.Background())
}

func BenchmarkImage(b *testing.B) {
	r, _ := benchRuntime(b)
	defer r.Close(context.Background())
	for b.Loop() {
		if _, err := r.Image(context.Background(), "busybox"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpDown runs containers of one group beside one that stays.
func BenchmarkUpDown(b *testing.B) {
	ctx := context.Background()
	r, _ := benchRuntime(b)
	defer r.Close(ctx)
	exits := r.Exits(ctx)
	up := func(id string) error {
		if _, err := r.PrepareRoot(ctx, id, "busybox"); err != nil {
			return err
		}
		if err := r.CreateContainer(ctx, containerd.ContainerSpec{ID: id, Group: "p", Spec: spec(id, "sleep", "1000")}); err != nil {
			return err
		}
		if _, err := r.CreateTask(ctx, containerd.TaskOptions{ContainerID: id}); err != nil {
			return err
		}
		return r.StartTask(ctx, id)
	}
	down := func(id string) error {
		if err := r.Kill(ctx, id, "", unix.SIGKILL, false); err != nil {
			return err
		}
		<-exits
		if _, _, err := r.DeleteTask(ctx, id); err != nil {
			return err
		}
		return r.DeleteContainer(ctx, id)
	}
	if err := up("stays"); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		n++
		id := fmt.Sprintf("c%d", n)
		if err := up(id); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := down(id); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	if err := down("stays"); err != nil {
		b.Fatal(err)
	}
}
