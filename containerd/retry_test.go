package containerd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"testing"
	"time"

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
		{errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1999, ErrCode=NO_ERROR"), true},
		{remoteerrors.ErrUnexpectedStatus{StatusCode: 403}, false},
		{&url.Error{Op: "Get", Err: limited{remoteerrors.ErrUnexpectedStatus{StatusCode: 429}, 0}}, true},
		{&url.Error{Op: "Get", Err: limited{remoteerrors.ErrUnexpectedStatus{StatusCode: 429}, longestPause + 1}}, false},
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
	err := retry(t.Context(), 2, transient, func(text string) { pauses = append(pauses, text) }, func(int) error { calls++; return io.EOF })
	if err != io.EOF || calls != 2 || len(pauses) != 0 {
		t.Errorf("%d calls, pauses %q: %v", calls, pauses, err)
	}
}

// A registry is asked again when it wants to be, by either form of the header.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999999999999999": 0,
		now.Add(time.Hour).Format(http.TimeFormat): time.Hour, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q is %s, not %s", value, got, want)
		}
	}
	for after, want := range map[time.Duration]time.Duration{0: time.Second, 9 * time.Second: 9 * time.Second} {
		if got := pause(1, limited{after: after}); got != want {
			t.Errorf("asked for %s, the pause is %s", after, got)
		}
	}
}

// Credentials follow redirects to no other server, as which Go's client takes
// another port or a host below; and nobody is led away from HTTPS unasked.
func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		from, to string
		insecure bool
		follows  bool
		keeps    bool
	}{
		{"https://reg.example/v2/", "https://reg.example/other", false, true, true},
		{"https://reg.example/v2/", "https://REG.example:443/other", false, true, true},
		{"https://reg.example/v2/", "https://reg.example:4430/other", false, true, false},
		{"https://reg.example:5000/v2/", "https://reg.example:5001/other", false, true, false},
		{"https://reg.example/v2/", "https://sub.reg.example/other", false, true, false},
		{"https://reg.example/v2/", "https://elsewhere.example/other", false, true, false},
		{"https://reg.example/v2/", "http://reg.example/other", false, false, false},
		{"https://reg.example:5000/v2/", "http://reg.example:5000/other", true, true, true},
		{"https://reg.example/v2/", "http://reg.example/other", true, true, true},
		{"https://reg.example/v2/", "http://elsewhere.example/other", true, true, false},
	} {
		first, err := http.NewRequest(http.MethodGet, c.from, nil)
		if err != nil {
			t.Fatal(err)
		}
		next, err := http.NewRequest(http.MethodGet, c.to, nil)
		if err != nil {
			t.Fatal(err)
		}
		next.Header.Set("Authorization", "Bearer secret")
		err = redirect(c.insecure)(next, []*http.Request{first})
		if (err == nil) != c.follows || err == nil && (next.Header.Get("Authorization") != "") != c.keeps {
			t.Errorf("from %s to %s: %v, %q", c.from, c.to, err, next.Header.Get("Authorization"))
		}
	}
}
