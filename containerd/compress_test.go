package containerd

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
)

// A layer's digest must not depend on the machine or on how its bytes came.
func TestGzipDependsOnTheBytesAlone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, size := range []int{0, 1, 1 << 20, 1<<20 + 1, 7 << 19} {
		data := make([]byte, size)
		noise := rand.New(rand.NewPCG(uint64(size), 0))
		for i := range data {
			if i%4096 < 1024 {
				data[i] = byte(noise.Uint32())
			}
		}
		var first []byte
		for _, procs := range []int{1, 2, 5} {
			runtime.GOMAXPROCS(procs)
			var out bytes.Buffer
			w, err := Gzip(&out)
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+noise.IntN(300<<10))
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = out.Bytes()
			}
			if !bytes.Equal(first, out.Bytes()) {
				t.Fatalf("%d bytes: with %d cores and in other pieces, they make another archive", size, procs)
			}
		}
		r, err := gzip.NewReader(bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes came back of %d: %v", len(got), size, err)
		}
	}
}
