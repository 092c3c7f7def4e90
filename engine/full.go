package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/log"
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
