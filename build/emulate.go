package build

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/executor"
	resources "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/llbsolver/linuxresources"
	"github.com/moby/buildkit/solver/llbsolver/ops"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/archutil"
	"github.com/moby/buildkit/util/bklog"
	bkworker "github.com/moby/buildkit/worker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ResolveOp has steps for platforms that the host cannot run say so when they
// fail of that: the kernel's own words for it name neither. The step itself stays
// BuildKit's, which asks it for provenance.
func (w worker) ResolveOp(v solver.Vertex, s frontend.FrontendLLBBridge, sm *session.Manager, proxy bkworker.ProxyOpt) (solver.Op, error) {
	base, ok := v.Sys().(*pb.Op)
	run, exec := base.GetOp().(*pb.Op_Exec)
	if !ok || !exec || base.Platform == nil || proxy.Network {
		return w.Worker.ResolveOp(v, s, sm, proxy)
	}
	var limits *pb.LinuxResources
	if m, ok := v.Options().Metadata.(*linuxresources.Metadata); ok && m != nil {
		limits = m.LinuxResources
	}
	p := base.Platform
	told := formats{w.WorkerOpt.Executor, platforms.Normalize(ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})}
	return ops.NewExecOp(v, run, p, unkept{w.CacheMgr}, w.ParallelismSem, sm, told, w.Worker, limits, false)
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

// formats is an executor of a step for a platform. It tells of a program, be it
// the step's or one that its shell was to run, whose format the kernel does not
// know.
type formats struct {
	executor.Executor
	on ocispec.Platform
}

func (f formats) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (resources.Recorder, error) {
	ctx = bklog.WithLogger(ctx, quietLog())
	if p.Stderr == nil {
		return f.Executor.Run(ctx, id, root, mounts, p, started)
	}
	said := &unknownFormat{WriteCloser: p.Stderr}
	p.Stderr = said
	rec, err := f.Executor.Run(ctx, id, root, mounts, p, started)
	if err != nil && said.found && ctx.Err() == nil && !runs(archutil.SupportedPlatforms(true), f.on) {
		err = fmt.Errorf("%w: %w", err, cannotRun(f.on))
	}
	return rec, err
}

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
