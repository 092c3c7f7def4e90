package docker

import (
	"context"

	"github.com/docker/cli/cli/command/container"
)

// Stats is "docker stats" with its options given.
func (f *Front) Stats(ctx context.Context, host string, o *container.StatsOptions) error {
	if _, _, err := f.parse(ctx, host, nil); err != nil {
		return f.finish(ctx, err)
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	return f.finish(ctx, container.RunStats(ctx, f.cli, o))
}
