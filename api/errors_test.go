package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	moby "github.com/moby/moby/client"
)

// A class that goes in comes out of a client as what its users test for.
func TestErrorsKeepTheirClass(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   func(error) bool
		name string
	}{
		{errdefs.ErrNotFound, errdefs.IsNotFound, "not found"},
		{errdefs.ErrInvalidArgument, errdefs.IsInvalidArgument, "invalid argument"},
		{errdefs.ErrOutOfRange, errdefs.IsInvalidArgument, "out of range"},
		{errdefs.ErrConflict, errdefs.IsConflict, "conflict"},
		{errdefs.ErrAlreadyExists, errdefs.IsConflict, "already exists"},
		{errdefs.ErrFailedPrecondition, errdefs.IsConflict, "failed precondition"},
		{errdefs.ErrUnauthenticated, errdefs.IsUnauthorized, "unauthenticated"},
		{errdefs.ErrPermissionDenied, errdefs.IsPermissionDenied, "permission denied"},
		{errdefs.ErrNotImplemented, errdefs.IsNotImplemented, "not implemented"},
		{errdefs.ErrUnavailable, errdefs.IsUnavailable, "unavailable"},
		{errdefs.ErrInternal, errdefs.IsInternal, "internal"},
		{errors.New("plain"), errdefs.IsInternal, "plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveBackends(t, refusingWith(fmt.Errorf("container %q: %w", "x", c.err)))
			_, err := s.client(t).ContainerRename(testContext(t), "x", moby.ContainerRenameOptions{NewName: "y"})
			if err == nil || !c.is(err) {
				t.Fatalf("came out as %v", err)
			}
			want := `Error response from daemon: container "x"`
			if c.name == "plain" {
				want += ": plain"
			}
			if err.Error() != want {
				t.Errorf("message %q, want %q", err, want)
			}
		})
	}
}

func TestNotModifiedIsNoFailure(t *testing.T) {
	s := serveBackends(t, refusingWith(errdefs.ErrNotModified))
	if _, err := s.client(t).ContainerStart(testContext(t), "x", moby.ContainerStartOptions{}); err != nil {
		t.Errorf("a container that runs already: %v", err)
	}
}

func TestMessageOfJoinedErrors(t *testing.T) {
	all := multierror.Append(nil, fmt.Errorf("port 80 is taken: %w", errdefs.ErrConflict), fmt.Errorf("image %q: %w", "x", errdefs.ErrNotFound))
	if got, want := messageOf(all), "port 80 is taken\nimage \"x\""; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if got := messageOf(context.Canceled); !strings.Contains(got, "canceled") {
		t.Errorf("message %q says nothing", got)
	}
	if got := messageOf(errdefs.ErrNotFound); got != "not found" {
		t.Errorf("message %q of a bare class", got)
	}
}
