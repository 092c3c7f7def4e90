package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
)

// What is true of transfers when the configuration says nothing.
const (
	defaultTransfers = 5 // blobs of an image at a time
	defaultAttempts  = 5 // of one blob
)

// retryDelay is how long to wait before an attempt, the first being 0: the
// second follows at once, most often only a connection broke.
func retryDelay(attempt int) time.Duration {
	if attempt < 2 {
		return 0
	}
	return time.Second << min(attempt-2, 5)
}

// pause is retryDelay for an error: a registry that has too many requests is
// not asked at once, and not before it wants to be.
func pause(attempt int, err error) time.Duration {
	d := retryDelay(attempt)
	var l limited
	if errors.As(err, &l) {
		d = max(d, l.after, time.Second)
	}
	return d
}

// retry calls f, with 1 and on, until it succeeds, its error is not one to try again after, or
// it has been called often enough. waiting is told of pauses.
func retry(ctx context.Context, attempts int, again func(error) bool, waiting func(string), f func(attempt int) error) error {
	for attempt := 1; ; attempt++ {
		err := f(attempt)
		if err == nil || attempt >= attempts || !again(err) || ctx.Err() != nil {
			return err
		}
		if d := pause(attempt, err); d > 0 {
			plural := "s"
			if d == time.Second {
				plural = ""
			}
			waiting(fmt.Sprintf("Retrying in %d second%s", d/time.Second, plural))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(d):
			}
		}
	}
}

// errCorrupt is content that is not what its digest says: something on the way
// has changed it.
var errCorrupt = errors.New("the content that arrived is not what its digest says")

// transient tells whether a transfer may succeed when it is tried again: the
// connection broke, or the registry had a fault of its own.
func transient(err error) bool {
	var local *fs.PathError // a full disk, say
	if errors.Is(err, context.Canceled) || untrusted(err) || errors.As(err, &local) {
		return false
	}
	var status remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &status) {
		var l limited
		if errors.As(err, &l) {
			return l.after <= longestPause
		}
		return status.StatusCode >= http.StatusInternalServerError || status.StatusCode == http.StatusRequestTimeout
	}
	var (
		request *url.Error
		network *net.OpError
	)
	return errors.As(err, &request) || errors.As(err, &network) || broken2(err.Error()) ||
		errors.Is(err, errCorrupt) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// broken2 tells whether a connection of HTTP/2 broke: Go's errors of these have
// no types that are exported.
func broken2(text string) bool {
	return slices.ContainsFunc([]string{"stream error: stream ID", "http2: server sent GOAWAY", "http2: client connection lost", "http2: server closed"}, func(part string) bool {
		return strings.Contains(text, part)
	})
}
