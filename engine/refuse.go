package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/container"
)

// missingImage is the error of a container whose image is not here.
type missingImage string

func (m missingImage) Error() string {
	name := string(m)
	if ref, err := reference.ParseNormalizedNamed(name); err == nil {
		name = reference.FamiliarString(reference.TagNameOnly(ref))
	}
	return "No such image: " + name
}

func (missingImage) NotFound() {}

// noImage is why there is no image of that name: it is not here, or cannot be.
func noImage(name string) error {
	if name == "" {
		return fmt.Errorf("no image given to make a container of: %w", errdefs.ErrInvalidArgument)
	}
	if _, err := reference.ParseAnyReference(name); err != nil {
		return fmt.Errorf("%v: %w", err, errdefs.ErrInvalidArgument)
	}
	return missingImage(name)
}

// imageToRun finds the image that a container is made from, for the platform
// asked for or one like it; without one, the best that is here.
func (e *Engine) imageToRun(ctx context.Context, name, asked string) (*ctd.Image, error) {
	img, err := e.rt.Image(ctx, name)
	if err != nil {
		return nil, err
	}
	return runnable(img, name, asked)
}

func runnable(img *ctd.Image, name, asked string) (*ctd.Image, error) {
	if asked == "" {
		return img, nil
	}
	want, err := platforms.Parse(asked)
	if err != nil {
		return nil, fmt.Errorf("platform %q: %v: %w", asked, err, errdefs.ErrInvalidArgument)
	}
	if one := img.For(want, true); one != nil {
		return one, nil
	}
	if img.Architecture == "" || img.OS == "" {
		return img, nil // an image need not say
	}
	return nil, missingPlatform{name, asked}
}

// foreignPlatform warns of an image that is not for this host, when nobody
// asked for that: it may run, emulated.
func foreignPlatform(img *ctd.Image, asked string) (warnings []string) {
	host := platforms.DefaultSpec()
	if is := img.Platform(); asked == "" && is.Architecture != "" && is.OS != "" && !platforms.Only(host).Match(is) {
		return []string{fmt.Sprintf("The requested image's platform (%s) does not match the detected host platform (%s) and no specific platform was requested",
			platforms.FormatAll(is), platforms.FormatAll(host))}
	}
	return nil
}

// missingPlatform is the error of an image that is here for others only.
type missingPlatform struct{ image, platform string }

func (m missingPlatform) Error() string {
	return fmt.Sprintf("image with reference %s was found but does not provide the specified platform (%s)", m.image, m.platform)
}

func (missingPlatform) NotFound() {}

// refusal is why a container was not created, for a client. Only its image may
// be "not found": docker run pulls it then.
func refusal(err error) error {
	image, platform := missingImage(""), missingPlatform{}
	if errors.As(err, &image) || errors.As(err, &platform) {
		return err
	}
	return asSetting(err)
}

// checkConflicts refuses what contradicts itself, as a client asked for it:
// later the image's share is in it. Source: dockerd, which has these words.
func checkConflicts(c *container.Config, h *container.HostConfig, nets []attachment) error {
	mode := h.NetworkMode
	if name, joins := strings.CutPrefix(string(mode), "container:"); joins && name == "" {
		return fmt.Errorf("Invalid network mode: invalid container format container:<name|id>: %w", errdefs.ErrInvalidArgument)
	}
	for _, conflict := range []struct {
		is   bool
		what string
	}{
		{h.UTSMode.IsHost() && c.Hostname != "", "hostname and the UTS mode"},
		{mode.IsContainer() && c.Hostname != "", "hostname and the network mode"},
		{!hasOwnLinks(mode) && slices.ContainsFunc(nets, func(a attachment) bool { return len(a.Settings.MacAddress) > 0 }), "mac-address and the network mode"},
	} {
		if conflict.is {
			return fmt.Errorf("conflicting options: %s: %w", conflict.what, errdefs.ErrInvalidArgument)
		}
	}
	if err := checkMode(h); err != nil {
		return err
	}
	if mode.IsContainer() && len(c.ExposedPorts) > 0 { // published ones are exposed, too
		return fmt.Errorf("conflicting options: port exposing and the container type network mode: %w", errdefs.ErrInvalidArgument)
	}
	if err := container.ValidateRestartPolicy(h.RestartPolicy); err != nil {
		return fmt.Errorf("%v: %w", err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// hasOwnLinks tells whether a container of that mode has network interfaces
// that are made for it.
func hasOwnLinks(mode container.NetworkMode) bool {
	return !mode.IsHost() && !mode.IsNone() && !mode.IsContainer()
}

// unrunnable puts the blame where it is when a container's command is missing
// or no program: on who asked for it. The words at the end are those by which
// clients of dockerd know it.
func unrunnable(err error) error {
	if code := startFailure(err); err == nil || code != exitNotFound && code != exitNotExecutable {
		return err
	}
	hint := ""
	if s := err.Error(); strings.Contains(s, "not a directory") || strings.Contains(s, "is a directory") {
		hint = ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"
	}
	return fmt.Errorf("%s: unknown%s: %w", err, hint, errdefs.ErrInvalidArgument)
}

// execFailure is the exit code of an exec that could not be started.
func execFailure(err error) int {
	if startFailure(err) == exitNotFound {
		return exitNotFound
	}
	return exitNotExecutable
}
