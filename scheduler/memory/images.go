package memory

import (
	"fmt"
	"strings"

	"gantry/scheduler"

	"github.com/containerd/errdefs"
)

func (d *Driver) pull(a scheduler.PullImage) error {
	image, ok := d.registry[a.Ref]
	if _, present := d.images[a.Ref]; !ok && !(a.Optional && present) {
		return fmt.Errorf("image %q: %w", a.Ref, errdefs.ErrNotFound)
	}
	if ok {
		image.Pulled = d.now
		d.images[a.Ref] = image
	}
	return nil
}

// build makes what Source says, else an image that the build's definition
// decides. An inline Dockerfile that ends with "RUN false" fails.
func (d *Driver) build(a scheduler.BuildImage) error {
	for _, from := range a.Build.Contexts {
		ref, ok := strings.CutPrefix(from, "docker-image://")
		if _, present := d.images[ref]; ok && !present {
			return fmt.Errorf("image %q to begin with: %w", ref, errdefs.ErrNotFound)
		}
	}
	if strings.HasSuffix(strings.TrimSpace(a.Build.DockerfileInline), " false") {
		return fmt.Errorf("image %q: exit code 1: %w", a.Ref, errdefs.ErrFailedPrecondition)
	}
	image, ok := d.sources[a.Ref]
	if !ok {
		image.ID = "sha256:" + digest("build", a.Ref, fmt.Sprintf("%v", a.Build))
	}
	for _, name := range append([]string{a.Ref}, a.Build.Tags...) {
		d.images[name] = image
	}
	return nil
}
