package network

import (
	"fmt"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/network"
)

// BenchmarkContainers makes 30 containers with a published port each, four at a
// time, and takes them away: "make" is Ensure and Publish of one, "end" its
// Release, "gone" is what Flush waits for all of them.
func BenchmarkContainers(b *testing.B) {
	for _, parallel := range []int{1, 4} {
		b.Run(fmt.Sprint(parallel, " at a time"), func(b *testing.B) {
			w := newWorldBench(b)
			if _, err := w.Create(b.Context(), "front", network.CreateRequest{}, digest(w.cfg.Instance, "front")); err != nil {
				b.Fatal(err)
			}
			const containers = 30
			each := func(f func(id string) error) {
				var wg sync.WaitGroup
				next := make(chan int)
				for range parallel {
					wg.Go(func() {
						for i := range next {
							if err := f(digest(w.cfg.Instance, fmt.Sprint(i))); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for i := range containers {
					next <- i
				}
				close(next)
				wg.Wait()
			}
			var made, ended, gone float64
			for b.Loop() {
				t0 := b.Elapsed()
				each(func(id string) error {
					_, err := w.Ensure(b.Context(), Sandbox{ID: id, Endpoints: []Endpoint{{Network: "front", Aliases: []string{id[:8]}}}})
					if err == nil {
						_, err = w.Publish(b.Context(), id, []Port{{ContainerPort: 80}})
					}
					return err
				})
				t1 := b.Elapsed()
				each(func(id string) error { return w.Release(b.Context(), id) })
				t2 := b.Elapsed()
				if err := w.Flush(b.Context()); err != nil {
					b.Error(err)
				}
				t3 := b.Elapsed()
				made += (t1 - t0).Seconds()
				ended += (t2 - t1).Seconds()
				gone += (t3 - t2).Seconds()
			}
			n := float64(b.N)
			b.ReportMetric(made/n/containers*1e3, "ms/make")
			b.ReportMetric(ended/n/containers*1e3, "ms/end")
			b.ReportMetric(gone/n*1e3, "ms/gone")
		})
	}
}
