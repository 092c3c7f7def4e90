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
	"os"
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
func registryError(name string, err error) error { return answered("pull", name, err) }

// pushError is registryError for pushes.
func pushError(name string, err error) error { return answered("push", name, err) }

// untrusted tells whether a certificate is what is wrong.
func untrusted(err error) bool {
	var (
		verify   *tls.CertificateVerificationError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

func answered(verb, name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	image, registry := FamiliarName(name), domainOf(name)
	var status remoteerrors.ErrUnexpectedStatus
	switch {
	case errors.As(err, &status):
		return statusError(verb, image, registry, status, comeBack(err))
	case errors.Is(err, errdefs.ErrNotFound) && verb == "pull":
		return fmt.Errorf("manifest for %s not found: manifest unknown: registry %q has no such image: %w", image, registry, errdefs.ErrNotFound)
	case errors.Is(err, errTooMuch):
		return fmt.Errorf("image %q: registry %q sends more than it should: %w", image, registry, err)
	case errors.Is(err, docker.ErrInvalidAuthorization):
		_, why, found := strings.Cut(err.Error(), docker.ErrInvalidAuthorization.Error()+": ")
		if !found {
			why = err.Error()
		}
		return denied(verb, image, registry, why, errdefs.ErrNotFound)
	}
	return reachError(fmt.Sprintf("image %q", image), registry, err)
}

// reachError is for a registry that gave no answer. The subject is what it was
// asked for.
func reachError(subject, registry string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	say := func(class error, what string) error {
		return fmt.Errorf("%s: registry %q %s: %w (%w)", subject, registry, what, class, err)
	}
	var (
		header  tls.RecordHeaderError
		dns     *net.DNSError
		network *net.OpError
	)
	switch {
	case untrusted(err):
		return say(errdefs.ErrFailedPrecondition, "has a certificate that is not trusted; put its CA into /etc/gantry/certs.d/"+registry+"/ca.crt or list it in insecure-registries")
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return say(errdefs.ErrFailedPrecondition, "does not speak HTTPS; list it in insecure-registries")
	case errors.As(err, &dns):
		return say(errdefs.ErrUnavailable, "cannot be found")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return say(errdefs.ErrUnavailable, fmt.Sprintf("has neither sent nor taken a byte for %s", stalled))
	case errors.Is(err, context.DeadlineExceeded):
		return say(errdefs.ErrUnavailable, "does not answer in time")
	case errors.As(err, &network):
		return say(errdefs.ErrUnavailable, "cannot be reached")
	}
	return fmt.Errorf("%s: %w", subject, err)
}

func statusClass(code int) error {
	switch {
	case code == http.StatusUnauthorized:
		return errdefs.ErrNotFound // as dockerd: to "unauthenticated" the docker CLI answers with a prompt
	case code == http.StatusForbidden:
		return errdefs.ErrPermissionDenied
	case code == http.StatusNotFound:
		return errdefs.ErrNotFound
	case code == http.StatusTooManyRequests:
		return errdefs.ErrResourceExhausted
	case code >= http.StatusInternalServerError:
		return errdefs.ErrUnavailable
	}
	return errdefs.ErrUnknown
}

// answerText is what a registry says, as distribution's own client shows it.
func answerText(s remoteerrors.ErrUnexpectedStatus) string {
	// Source: OCI distribution specification, error codes.
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(s.Body, &body) == nil && len(body.Errors) > 0 {
		code := strings.ToLower(strings.ReplaceAll(body.Errors[0].Code, "_", " "))
		return fmt.Sprintf("%s: %s (%s)", code, body.Errors[0].Message, s.Status)
	}
	return s.Status
}

// comeBack says when a registry wants to be asked again.
func comeBack(err error) string {
	var l limited
	if errors.As(err, &l) && l.after > 0 {
		return fmt.Sprintf(", to be asked again in %s", l.after)
	}
	return ""
}

func statusError(verb, image, registry string, s remoteerrors.ErrUnexpectedStatus, when string) error {
	class, answer := statusClass(s.StatusCode), answerText(s)+when
	switch {
	case s.StatusCode == http.StatusUnauthorized, s.StatusCode == http.StatusForbidden:
		return denied(verb, image, registry, answer, class)
	case s.StatusCode == http.StatusNotFound && verb == "pull":
		return fmt.Errorf("manifest for %s not found: manifest unknown: registry %q answers %s: %w", image, registry, answer, class)
	}
	return fmt.Errorf("image %q: registry %q answers %s: %w", image, registry, answer, class)
}

// denied has dockerd's words, which clients look for.
func denied(verb, image, registry, answer string, class error) error {
	repository, _, _ := strings.Cut(image, "@")
	if i := strings.LastIndex(repository, ":"); i > strings.LastIndex(repository, "/") {
		repository = repository[:i]
	}
	return fmt.Errorf("%s access denied for %s, repository does not exist or may require 'docker login': registry %q: %s: %w", verb, repository, registry, answer, class)
}
