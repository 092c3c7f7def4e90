package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
)

// Whoever follows a download reads exactly what was written, in whatever
// pieces both go, also where the beginning was dropped from memory.
func TestStreamIsReadAsItComes(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3*window+12345)
	for i := range data {
		data[i] = byte(noise.Uint32())
	}
	s, file, writing := startStream(t, len(data))
	s.opened(func() *os.File { return file }, 0)
	go func() {
		for rest := data; len(rest) > 0; {
			n, err := writing.Write(rest[:min(len(rest), 1+noise.IntN(window/2))])
			s.grew(n)
			if err != nil {
				s.finish(err)
				return
			}
			rest = rest[n:]
		}
		s.finish(nil)
	}()
	r, err := s.reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(content.NewReader(r))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes of %d: %v", len(got), len(data), err)
	}
	if r.(*following).dropped == 0 {
		t.Error("nothing was dropped from memory")
	}
}

func TestStreamTellsWhatWentWrong(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		happens func(s *stream)
		want    error
	}{
		"the download fails":    {func(s *stream) { s.finish(broken) }, broken},
		"it begins anew":        {func(s *stream) { s.opened(func() *os.File { return nil }, 0) }, errSpoilt},
		"its file is truncated": {func(s *stream) { s.spoil() }, errSpoilt},
	} {
		s, file, writing := startStream(t, 100)
		s.opened(func() *os.File { return file }, 0)
		n, err := writing.Write(make([]byte, 50))
		if err != nil {
			t.Fatal(err)
		}
		s.grew(n)
		r, err := s.reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go c.happens(s)
		if _, err := io.ReadAll(content.NewReader(r)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	s := newStream(100)
	s.finish(nil) // by somebody else's download
	if r, err := s.reader(t.Context()); r != nil || err != nil {
		t.Errorf("of a download without a file: %v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newStream(100).reader(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("of one that never begins: %v", err)
	}
}

func startStream(t *testing.T, size int) (s *stream, reading, writing *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	writing, err := os.Create(path)
	if err == nil {
		reading, err = os.Open(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	s = newStream(int64(size))
	t.Cleanup(func() {
		s.close()
		writing.Close()
		reading.Close()
	})
	return s, reading, writing
}
