package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// full tells whether a write failed because there is no room for it.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// heedless lets an operation that ends something go on when its intent could
// not be written down for want of room: what runs on a full disk must be
// possible to stop and to remove.
func (e *Engine) heedless(name string, err error) error {
	if !full(err) {
		return err
	}
	log.G(e.ctx).WithError(err).Warnf("container %q: state is not on disk, a daemon that starts now does not know it", name)
	return nil
}

// makeRoom empties what a container that is being removed has written, its logs
// and its own layer, so that there is room to write down what is done with it.
func (e *Engine) makeRoom(ctx context.Context, c *ctr) error {
	logs, err := filepath.Glob(filepath.Join(c.dir, c.id+"-json.log*"))
	for _, l := range logs {
		err = errJoin(err, os.Remove(l))
	}
	if err = errJoin(err, e.rt.EmptyLayer(ctx, c.id)); err != nil {
		return fmt.Errorf("make room: %w", err)
	}
	return nil
}

// reserved is how many bytes of the disk are kept for emptying it, and
// leastReserved how many are worth it where there are fewer.
const (
	reserved      = 8 << 20
	leastReserved = reserved / 8
)

// reserve is a file that keeps room on the data root's disk: the databases need
// some to note what is removed.
type reserve struct {
	path string

	mu    sync.Mutex
	users int
}

// spend gives the room back to the disk until done is called.
func (r *reserve) spend() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users++; r.users == 1 {
		os.Remove(r.path)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.users--; r.users == 0 {
			r.fill()
		}
	}
}

// fill takes the room, as far as there is any: a disk that is full, or cannot
// reserve, is not the fault of whoever removes something.
func (r *reserve) fill() {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for size := int64(reserved); size >= leastReserved; size /= 2 {
		if unix.Fallocate(int(f.Fd()), 0, 0, size) == nil {
			return
		}
	}
	os.Remove(r.path)
}
