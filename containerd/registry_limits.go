package containerd

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// longestPause is how long a registry may ask to be left alone; who asks for
// more is told of instead.
const longestPause = time.Minute

// limited is a registry's answer to too many requests.
type limited struct {
	remoteerrors.ErrUnexpectedStatus
	after time.Duration // when it wants to be asked again, 0 when it does not say
}

func (l limited) Unwrap() error { return l.ErrUnexpectedStatus }

// pauses tells whether a registry says when to ask again, and that is soon.
func pauses(err error) bool { return pausesFor(err, longestPause) }

// briefly is pauses for those who tell nobody that they wait.
func briefly(err error) bool { return pausesFor(err, 5*time.Second) }

func pausesFor(err error, most time.Duration) bool {
	var l limited
	return errors.As(err, &l) && l.after > 0 && l.after <= most
}

// retryAfter reads the header of that name. Source: RFC 9110, 10.2.3.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now).Round(time.Second))
	}
	return 0
}

// errTooMuch is an answer that has no end, or none that could be believed.
var errTooMuch = errors.New("more than can be")

// wary makes errors of answers that are too long, and of a rate limit: it would
// be asked again without a pause.
type wary struct{ http.RoundTripper }

func (w wary) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		defer resp.Body.Close()
		var status remoteerrors.ErrUnexpectedStatus
		errors.As(remoteerrors.NewUnexpectedStatusErr(resp), &status)
		return nil, limited{status, retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	most := longest(req)
	if most == 0 {
		return resp, nil
	}
	if resp.ContentLength > most {
		resp.Body.Close()
		return nil, tooMuch(req, most)
	}
	resp.Body = &bounded{resp.Body, most, req}
	return resp, nil
}

// longest is how many bytes the answer to a request may have, 0 for blobs: their
// sizes are known.
func longest(req *http.Request) int64 {
	for req.Response != nil && req.Response.Request != nil { // redirected
		req = req.Response.Request
	}
	switch {
	case strings.Contains(req.URL.Path, "/blobs/"):
		return 0
	case strings.Contains(req.URL.Path, "/manifests/"):
		return docker.MaxManifestSize
	}
	return maxDocument
}

func tooMuch(req *http.Request, most int64) error {
	return fmt.Errorf("the answer to %s has %w: over %d bytes: %w", req.URL.Path, errTooMuch, most, errdefs.ErrInvalidArgument)
}

// bounded is an answer of at most so many bytes.
type bounded struct {
	io.ReadCloser
	left int64
	req  *http.Request
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooMuch(b.req, longest(b.req))
	}
	return n, err
}

// patient gives registries with too many requests the pauses that they need.
type patient struct{ http.RoundTripper }

func (p patient) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	if req.Body != nil { // it is sent once
		return p.RoundTripper.RoundTrip(req)
	}
	soon := func(err error) bool {
		var l limited
		return errors.As(err, &l) && l.after <= longestPause
	}
	waiting := func(text string) {
		log.G(req.Context()).Infof("registry %q has too many requests: %s", req.URL.Host, text)
	}
	err = retry(req.Context(), defaultAttempts, soon, waiting, func(int) error {
		resp, err = p.RoundTripper.RoundTrip(req)
		return err
	})
	return resp, err
}
