package containerd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Spec returns the runtime spec that the container's next task gets.
func (r *Runtime) Spec(ctx context.Context, id string) (*specs.Spec, error) {
	c, err := r.client.ContainerService().Get(r.with(ctx), id)
	if err != nil {
		return nil, fmt.Errorf("runtime spec of container %q: %w", id, err)
	}
	var s specs.Spec
	if c.Spec == nil {
		return nil, fmt.Errorf("container %q has no runtime spec: %w", id, errdefs.ErrDataLoss)
	}
	if err := json.Unmarshal(c.Spec.GetValue(), &s); err != nil {
		return nil, fmt.Errorf("runtime spec of container %q: %w: %w", id, err, errdefs.ErrDataLoss)
	}
	return &s, nil
}
