package containerd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

// registryError says what a registry answered, in words, with a class:
//
//	ErrNotFound           no such image, or none for these credentials
//	ErrPermissionDenied   the registry refuses
//	ErrResourceExhausted  its rate limit
//	ErrUnavailable        it cannot be reached, or has a fault
//	ErrFailedPrecondition its certificate is not trusted
func registryError(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	image, registry := FamiliarName(name), domainOf(name)
	say := func(class error, what string) error {
		return fmt.Errorf("image %q: registry %q %s: %w (%w)", image, registry, what, class, err)
	}
	var status remoteerrors.ErrUnexpectedStatus
	if errors.As(err, &status) {
		return statusError(image, registry, status)
	}
	var (
		verify   *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		header   tls.RecordHeaderError
		dns      *net.DNSError
		network  *net.OpError
	)
	switch {
	case errors.Is(err, errdefs.ErrNotFound):
		return fmt.Errorf("manifest for %s not found: manifest unknown: registry %q has no such image: %w", image, registry, errdefs.ErrNotFound)
	case errors.Is(err, docker.ErrInvalidAuthorization):
		return denied(image, registry, err.Error(), errdefs.ErrNotFound)
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid):
		return say(errdefs.ErrFailedPrecondition, "has a certificate that is not trusted; put its CA into certs.d or list it in insecure-registries")
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return say(errdefs.ErrFailedPrecondition, "does not speak HTTPS; list it in insecure-registries")
	case errors.As(err, &dns):
		return say(errdefs.ErrUnavailable, "cannot be found")
	case errors.Is(err, context.DeadlineExceeded):
		return say(errdefs.ErrUnavailable, "does not answer in time")
	case errors.As(err, &network):
		return say(errdefs.ErrUnavailable, "cannot be reached")
	}
	return fmt.Errorf("image %q: %w", image, err)
}

func statusError(image, registry string, s remoteerrors.ErrUnexpectedStatus) error {
	var class error = errdefs.ErrUnknown
	switch {
	case s.StatusCode == http.StatusUnauthorized:
		class = errdefs.ErrNotFound // as dockerd: to "unauthenticated" the docker CLI answers with a prompt
	case s.StatusCode == http.StatusForbidden:
		class = errdefs.ErrPermissionDenied
	case s.StatusCode == http.StatusNotFound:
		class = errdefs.ErrNotFound
	case s.StatusCode == http.StatusTooManyRequests:
		class = errdefs.ErrResourceExhausted
	case s.StatusCode >= 500:
		class = errdefs.ErrUnavailable
	}
	message := s.Status
	// Source: OCI distribution specification, error codes.
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(s.Body, &body) == nil && len(body.Errors) > 0 {
		message += ": " + body.Errors[0].Code + ": " + body.Errors[0].Message
	}
	switch s.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return denied(image, registry, message, class)
	case http.StatusNotFound:
		return fmt.Errorf("manifest for %s not found: manifest unknown: registry %q answers %s: %w", image, registry, message, class)
	}
	return fmt.Errorf("image %q: registry %q answers %s: %w", image, registry, message, class)
}

// denied has dockerd's words, which clients look for.
func denied(image, registry, answer string, class error) error {
	repository, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository = repository[:i]
	}
	return fmt.Errorf("pull access denied for %s, repository does not exist or may require 'docker login': registry %q: %s: %w", repository, registry, answer, class)
}
