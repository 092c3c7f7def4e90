package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/executor"
	resources "github.com/moby/buildkit/executor/resources/types"
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
	if errors.As(err, new(wrongFormat)) && ctx.Err() == nil && !runs(archutil.SupportedPlatforms(true), s.on) {
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

// formats is an executor whose errors tell that the kernel did not know a
// program's format, be it the step's or one that its shell was to run.
type formats struct{ executor.Executor }

func (f formats) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (resources.Recorder, error) {
	if p.Stderr == nil {
		return f.Executor.Run(ctx, id, root, mounts, p, started)
	}
	said := &unknownFormat{WriteCloser: p.Stderr}
	p.Stderr = said
	rec, err := f.Executor.Run(ctx, id, root, mounts, p, started)
	if err != nil && said.found {
		err = wrongFormat{err}
	}
	return rec, err
}

type wrongFormat struct{ error }

func (w wrongFormat) Unwrap() error { return w.error }

// enoexec is what libraries call the kernel's error, in any case.
var enoexec = []byte("exec format error")

// unknownFormat looks for it in what is written.
type unknownFormat struct {
	io.WriteCloser
	end   []byte // of what was written before
	found bool
}

func (u *unknownFormat) Write(p []byte) (int, error) {
	if !u.found {
		seen := append(u.end, bytes.ToLower(p)...)
		u.found = bytes.Contains(seen, enoexec)
		u.end = bytes.Clone(seen[max(0, len(seen)-len(enoexec)+1):])
	}
	return u.WriteCloser.Write(p)
}
