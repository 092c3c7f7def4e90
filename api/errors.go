package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gantry/api/client"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/hashicorp/go-multierror"
	"github.com/moby/moby/api/types/common"
)

// statusOf maps an error's class to the status that Engine API clients expect
// of it. It is the only place that does.
func statusOf(err error) int {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	switch errdefs.Resolve(err) {
	case errdefs.ErrInvalidArgument, errdefs.ErrOutOfRange:
		return http.StatusBadRequest
	case errdefs.ErrUnauthenticated:
		return http.StatusUnauthorized
	case errdefs.ErrPermissionDenied:
		return http.StatusForbidden
	case errdefs.ErrNotFound:
		return http.StatusNotFound
	case errdefs.ErrNotModified:
		return http.StatusNotModified
	// clients know no 412: a container in the wrong state is a conflict to them
	case errdefs.ErrConflict, errdefs.ErrAlreadyExists, errdefs.ErrFailedPrecondition:
		return http.StatusConflict
	case errdefs.ErrResourceExhausted:
		return http.StatusTooManyRequests
	case errdefs.ErrNotImplemented:
		return http.StatusNotImplemented
	case errdefs.ErrUnavailable:
		return http.StatusServiceUnavailable
	case context.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// messageOf is what a person reads: the error without the name of its class,
// which the status tells already, and one line for each of several errors; and
// what to do when the disk is full.
func messageOf(err error) string {
	if all, ok := err.(*multierror.Error); ok {
		lines := make([]string, len(all.Errors))
		for i, e := range all.Errors {
			lines[i] = messageOf(e)
		}
		return strings.Join(lines, "\n")
	}
	return client.WithAdvice(strings.TrimSuffix(err.Error(), ": "+errdefs.Resolve(err).Error()))
}

// writeError answers with the error's status and a body as the Engine API
// defines it.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented && r.Context().Err() == nil {
		log.G(r.Context()).WithError(err).Errorf("%s %s", r.Method, r.URL.Path)
	}
	if status == http.StatusNotModified { // has no body
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, common.ErrorResponse{Message: messageOf(err)})
}

func badRequest(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errdefs.ErrInvalidArgument)...)
}
