package containerd

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// renewing is an authorizer that gets another token when the one it has is not
// taken any more. containerd's does so only for registries that say why.
type renewing struct{ docker.Authorizer }

// Authorize ends the body of a request that is not sent: who writes it would
// wait for a reader for ever.
func (r renewing) Authorize(ctx context.Context, req *http.Request) error {
	err := r.Authorizer.Authorize(ctx, req)
	if err != nil && req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

func (r renewing) AddResponses(ctx context.Context, responses []*http.Response) error {
	n := len(responses)
	last := responses[n-1]
	before := ""
	if n > 1 {
		before = sentWith(responses[n-2])
	}
	// Refused is one that was there before, or that came in place of such a one:
	// others that use it, too, may have worn it out.
	if token := sentWith(last); token != "" && token != before && (n == 1 || before != "") {
		responses = []*http.Response{withReason(last)}
	}
	return r.Authorizer.AddResponses(ctx, responses)
}

func sentWith(resp *http.Response) string { return resp.Request.Header.Get("Authorization") }

// bearer is an authorizer that has a token for one host, and no other. Uploads
// may lead to others.
type bearer struct{ host, token string }

func (b bearer) Authorize(_ context.Context, req *http.Request) error {
	if req.URL.Host == b.host {
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	return nil
}

func (b bearer) AddResponses(context.Context, []*http.Response) error {
	return fmt.Errorf("the token for registry %q is refused: %w", b.host, errdefs.ErrNotImplemented)
}

// withReason adds to a refusal of a token why it is refused.
func withReason(resp *http.Response) *http.Response {
	out := *resp
	out.Header = resp.Header.Clone()
	for i, c := range out.Header.Values("WWW-Authenticate") {
		if scheme, _, _ := strings.Cut(c, " "); strings.EqualFold(scheme, "bearer") && !strings.Contains(c, "error=") {
			out.Header["Www-Authenticate"][i] = c + `,error="invalid_token"`
		}
	}
	return &out
}
