package build

import (
	"context"
	"sync"

	"github.com/moby/buildkit/util/network"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Limits are what keeps steps from taking the host, and the daemon, down.
type Limits struct {
	Pids        int64  // most tasks of a step; 0 is unlimited
	OOMScoreAdj *int   // nil is the daemon's
	AppArmor    string // profile; "" for none
}

// limited bounds the tasks of steps, and tells of each from before its cgroup is
// made until that is gone. A network is what BuildKit lets change the spec.
type limited struct {
	network.Provider
	pids  int64
	begin func() (end func())
}

func (l limited) New(ctx context.Context, hostname string, o network.NamespaceOptions) (network.Namespace, error) {
	end := l.begin()
	n, err := l.Provider.New(ctx, hostname, o)
	if err != nil {
		end()
		return nil, err
	}
	return limitedStep{n, l.pids, sync.OnceFunc(end)}, nil
}

type limitedStep struct {
	network.Namespace
	pids int64
	end  func()
}

func (s limitedStep) Set(spec *specs.Spec) error {
	if s.pids > 0 {
		if spec.Linux.Resources == nil {
			spec.Linux.Resources = &specs.LinuxResources{}
		}
		spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &s.pids}
	}
	return s.Namespace.Set(spec)
}

func (s limitedStep) Close() error {
	defer s.end()
	return s.Namespace.Close()
}
