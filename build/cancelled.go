package build

import (
	"context"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/session"
)

// unkept is the cache of a step. What a step has written that was cancelled is
// not committed: BuildKit lets go of what it could not commit, and keeps for as
// long as the process lives what it could.
type unkept struct{ cache.Manager }

func (c unkept) New(ctx context.Context, parent cache.ImmutableRef, s session.Group, opts ...cache.RefOption) (cache.MutableRef, error) {
	ref, err := c.Manager.New(ctx, parent, s, opts...)
	if err != nil {
		return nil, err
	}
	return written{ref}, nil
}

type written struct{ cache.MutableRef }

func (w written) Commit(ctx context.Context) (cache.ImmutableRef, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return w.MutableRef.Commit(ctx)
}
