package containerd

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Dangling with @ and a digest is the name of an image without one. containerd
// keeps an image only under a name; Docker shows these as <none>.
const Dangling = "gantry-dangling"

const danglingPrefix = Dangling + "@"

// shortID is what can be the beginning of an image's ID.
var shortID = regexp.MustCompile(`^[0-9a-f]{1,64}$`)

// NormalizeReference completes a reference as Docker does: busybox is
// docker.io/library/busybox:latest. ErrInvalidArgument when it is none.
func NormalizeReference(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w: %w", ref, err, errdefs.ErrInvalidArgument)
	}
	return named.String(), nil
}

// FamiliarName shortens a complete reference as Docker shows it:
// docker.io/library/busybox:latest is busybox:latest.
func FamiliarName(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(named)
}

// domainOf is the registry of a complete reference.
func domainOf(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return reference.Domain(named)
}

// parseID recognises a whole image ID, with or without sha256:.
func parseID(ref string) (string, bool) {
	hex := strings.TrimPrefix(ref, "sha256:")
	id := "sha256:" + hex
	return id, digest.Digest(id).Validate() == nil
}

// matchID finds the one ID that a short form begins. IDs are sha256:….
func matchID(short string, ids []string) (string, error) {
	hex, prefixed := strings.CutPrefix(short, "sha256:")
	if !shortID.MatchString(hex) {
		return "", fmt.Errorf("image %q: %w", short, errdefs.ErrNotFound)
	}
	found := ""
	for _, id := range ids {
		if !strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), hex) || id == found {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("image ID %q begins several images' IDs, give more of it: %w", short, errdefs.ErrInvalidArgument)
		}
		found = id
	}
	if found == "" {
		if prefixed {
			return "", fmt.Errorf("image ID %q: %w", short, errdefs.ErrNotFound)
		}
		return "", fmt.Errorf("image %q: %w", short, errdefs.ErrNotFound)
	}
	return found, nil
}
