package containerd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"syscall"
	"testing"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

func TestWhatIsTriedAgain(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{io.ErrUnexpectedEOF, true},
		{fmt.Errorf("copy: %w", reset), true},
		{&url.Error{Op: "Put", Err: reset}, true},
		{remoteerrors.ErrUnexpectedStatus{StatusCode: 503}, true},
		{fmt.Errorf("%w: x", errCorrupt), true},
		{errors.New("stream error: stream ID 7; INTERNAL_ERROR; received from peer"), true},
		{remoteerrors.ErrUnexpectedStatus{StatusCode: 403}, false},
		{&url.Error{Op: "Get", Err: x509.UnknownAuthorityError{}}, false},
		{&url.Error{Op: "Get", Err: context.Canceled}, false},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, false},
		{syscall.ENOSPC, false},
		{errdefs.ErrNotFound, false},
	} {
		if got := transient(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
	var pauses []string
	calls := 0
	err := retry(t.Context(), 2, transient, func(text string) { pauses = append(pauses, text) }, func() error { calls++; return io.EOF })
	if err != io.EOF || calls != 2 || len(pauses) != 0 {
		t.Errorf("%d calls, pauses %q: %v", calls, pauses, err)
	}
}
