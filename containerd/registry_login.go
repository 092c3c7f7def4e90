package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// loginClient names us to token servers, as the docker CLI does.
const loginClient = "docker"

// registryOf is the registry of an address as config.json has them:
// https://index.docker.io/v1/ is docker.io, https://reg.example:5000 is
// reg.example:5000. Empty is docker.io.
func registryOf(address string) string {
	_, host, ok := strings.Cut(address, "://")
	if !ok {
		host = address
	}
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// Login asks a registry whether it takes credentials. A token server may answer
// with an identity token, to be kept in place of the password.
// ErrUnauthenticated when they are refused.
func (r *Runtime) Login(ctx context.Context, address string, a Auth) (identityToken string, err error) {
	registry := registryOf(address)
	host, err := docker.DefaultHost(registry)
	if err != nil {
		return "", fmt.Errorf("registry %q: %w: %w", address, err, errdefs.ErrInvalidArgument)
	}
	h, err := r.cfg.Registries.host(host, a)
	if err != nil {
		return "", err
	}
	base := h.Scheme + "://" + h.Host + h.Path + "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
	if err != nil {
		return "", fmt.Errorf("registry %q: %w: %w", address, err, errdefs.ErrInvalidArgument)
	}
	resp, err := h.Client.Do(req)
	if err != nil {
		return "", loginError(registry, base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		if resp.StatusCode == http.StatusOK {
			return "", nil
		}
		return "", loginError(registry, base, remoteerrors.NewUnexpectedStatusErr(resp))
	}
	for _, c := range auth.ParseAuthHeader(resp.Header) { // bearer first
		var authorization string
		switch c.Scheme {
		case auth.BearerAuth:
			var token string
			if token, identityToken, err = fetchToken(ctx, h, c, a); err != nil {
				return "", loginError(registry, base, err)
			}
			authorization = "Bearer " + token
		case auth.BasicAuth:
			plain := &http.Request{Header: http.Header{}}
			plain.SetBasicAuth(a.Username, a.Password)
			authorization = plain.Header.Get("Authorization")
		default:
			continue
		}
		again := req.Clone(ctx)
		again.Header.Set("Authorization", authorization)
		resp, err := h.Client.Do(again)
		if err != nil {
			return "", loginError(registry, base, err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return "", loginError(registry, base, remoteerrors.NewUnexpectedStatusErr(resp))
		}
		return identityToken, nil
	}
	return "", fmt.Errorf("registry %q asks for a login of no known scheme: %q: %w", registry, resp.Header.Values("WWW-Authenticate"), errdefs.ErrNotImplemented)
}

// fetchToken logs in at a token server.
func fetchToken(ctx context.Context, h docker.RegistryHost, c auth.Challenge, a Auth) (token, identity string, err error) {
	secret, user := a.Password, a.Username
	if a.IdentityToken != "" {
		user, secret = "", a.IdentityToken
	}
	to, err := auth.GenerateTokenOptions(ctx, h.Host, user, secret, c)
	if err != nil {
		return "", "", err
	}
	to.FetchRefreshToken = true
	if a.IdentityToken != "" {
		got, err := auth.FetchTokenWithOAuth(ctx, h.Client, nil, loginClient, to)
		if err != nil {
			return "", "", err
		}
		return got.AccessToken, a.IdentityToken, nil
	}
	got, err := auth.FetchToken(ctx, h.Client, nil, to)
	if err != nil {
		return "", "", err
	}
	if got.Token == "" {
		got.Token = got.AccessToken
	}
	return got.Token, got.RefreshToken, nil
}

// loginError has dockerd's words for a wrong password.
func loginError(registry, url string, err error) error {
	var status remoteerrors.ErrUnexpectedStatus
	if !errors.As(err, &status) {
		return reachError("login", registry, err)
	}
	answer := answerText(status)
	if status.StatusCode == http.StatusUnauthorized {
		if !strings.HasPrefix(answer, "unauthorized: ") {
			answer = "unauthorized: " + answer
		}
		return fmt.Errorf("Get %q: %s: %w", url, answer, errdefs.ErrUnauthenticated)
	}
	return fmt.Errorf("login to registry %q: it answers %s: %w", registry, answer, statusClass(status.StatusCode))
}
