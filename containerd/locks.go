package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// lockWait is how long a root may be taken by a process that is ending.
const lockWait = time.Second

// lockRoot takes a root for this runtime alone. Two would wait for each other's
// database without a word. ErrFailedPrecondition when it is taken.
func lockRoot(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	// What a killed process was about to execute holds the lock until it does.
	for deadline := time.Now().Add(lockWait); ; time.Sleep(5 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("containerd: root %q is used by another process, end that one or choose another root: %w", root, errdefs.ErrFailedPrecondition)
		}
		return nil, fmt.Errorf("containerd: locking root %q: %w", root, err)
	}
	return f, nil
}
