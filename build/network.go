package build

import (
	"context"
	"fmt"
	"sync"

	resources "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/util/network"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// bridged is BuildKit's network provider over ours.
type bridged struct{ net Network }

var _ network.Provider = bridged{}

func (b bridged) New(ctx context.Context, _ string, _ network.NamespaceOptions) (network.Namespace, error) {
	id := "build-" + identity.NewID()
	path, err := b.net.Attach(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("network of the step: %w", err)
	}
	return &namespace{net: b.net, id: id, path: path}, nil
}

func (b bridged) Close() error { return nil }

// namespace is one step's network.
type namespace struct {
	net      Network
	id, path string
	once     sync.Once
	err      error
}

func (n *namespace) Set(s *specs.Spec) error {
	for i := range s.Linux.Namespaces {
		if s.Linux.Namespaces[i].Type == specs.NetworkNamespace {
			s.Linux.Namespaces[i].Path = n.path
			return nil
		}
	}
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: n.path})
	return nil
}

// Close is called more than once.
func (n *namespace) Close() error {
	n.once.Do(func() { n.err = n.net.Detach(context.Background(), n.id) })
	return n.err
}

func (n *namespace) Sample() (*resources.NetworkSample, error) { return nil, nil }
