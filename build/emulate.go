package build

import (
	"context"
	"fmt"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/archutil"
	bkworker "github.com/moby/buildkit/worker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ResolveOp has steps for platforms that the host cannot run say so when they
// fail: the kernel's own words for it name neither.
func (w worker) ResolveOp(v solver.Vertex, s frontend.FrontendLLBBridge, sm *session.Manager, proxy bkworker.ProxyOpt) (solver.Op, error) {
	op, err := w.Worker.ResolveOp(v, s, sm, proxy)
	if err != nil {
		return nil, err
	}
	base, ok := v.Sys().(*pb.Op)
	if !ok || base.GetExec() == nil || base.Platform == nil {
		return op, nil
	}
	p := base.Platform
	return step{op, platforms.Normalize(ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})}, nil
}

// step is a RUN.
type step struct {
	solver.Op
	on ocispec.Platform
}

func (s step) Exec(ctx context.Context, job solver.JobContext, inputs []solver.Result) ([]solver.Result, error) {
	out, err := s.Op.Exec(ctx, job, inputs)
	if err != nil && ctx.Err() == nil && !runs(archutil.SupportedPlatforms(true), s.on) {
		err = fmt.Errorf("%w: %w", err, cannotRun(s.on))
	}
	return out, err
}

// runs tells whether a host that runs these platforms runs one, emulated ones
// included.
func runs(host []ocispec.Platform, p ocispec.Platform) bool {
	for _, h := range host {
		if platforms.Only(h).Match(p) {
			return true
		}
	}
	return false
}

func cannotRun(p ocispec.Platform) error {
	return fmt.Errorf("this host cannot run programs for %s: install an emulator (Debian, Ubuntu: apt-get install qemu-user-static; elsewhere one that is registered with binfmt_misc), "+
		"or compile for it in a stage that begins with FROM --platform=$BUILDPLATFORM", platforms.Format(p))
}
